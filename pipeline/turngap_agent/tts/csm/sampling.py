"""Draws a code from logits on the device, without the host: Gumbel-argmax over the top k.

`torch.multinomial` reads back to the host and cannot be captured; the argmax of log-probabilities plus Gumbel noise has
the same distribution (Gumbel 1954; Maddison et al. 2014). The uniform noise is an input tensor, so that a captured step
is a pure function of its inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NOISE_ROW = 64
"""Least length of a noise row: 256 bytes, so that every row is aligned for a compiled step."""


class Sampling(NamedTuple):
    """How codes are drawn; a temperature of 0 chooses the likeliest."""

    temperature: float
    top_k: int
    fused: bool = False
    """Whether one kernel in Triton draws a single row's code (`kernels.sample`)."""

    @property
    def greedy(self) -> bool:
        """Whether the likeliest code is chosen, without noise."""
        return self.temperature <= 0


def make_noise_buffer(codebooks: int, sampling: Sampling, device: torch.device) -> Tensor:
    """Return a buffer for one frame's uniform noise, shape (codebooks, at least top_k)."""
    width = -(-max(sampling.top_k, 1) // NOISE_ROW) * NOISE_ROW
    return torch.full((codebooks, width), 0.5, device=device)


def sample(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Return a code for each row of `logits` (rows, codes), with uniform `noise` (rows, at least top_k)."""
    if sampling.greedy:
        return logits.argmax(dim=-1)
    if sampling.fused and len(logits) == 1:
        from turngap_agent.tts.csm import kernels

        return kernels.sample(logits, noise, sampling.temperature, sampling.top_k)
    likeliest, codes = logits.float().topk(sampling.top_k, dim=-1)
    uniform = noise[:, : sampling.top_k].clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform))
    choice = (likeliest / sampling.temperature + gumbel).argmax(dim=-1, keepdim=True)
    return codes.gather(-1, choice).squeeze(-1)
