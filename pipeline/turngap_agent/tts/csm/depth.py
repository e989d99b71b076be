"""CSM's depth decoder: from the backbone's hidden state and the first code to all codes of a frame, in one unit.

It has 31 sequential steps, with sampling inside. Every step but the first has the same shapes, so that one compiled
function serves them all. A code's embedding and its projection to the decoder's width are one table, computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import KeyValues
from turngap_agent.tts.csm.sampling import Sampling, sample
from turngap_agent.tts.csm.stack import LlamaStack


class DepthDecoder:
    """The depth decoder's weights of a transformers CsmForConditionalGeneration, with its own small cache.

    The cache needs no reset: a frame writes every place before it attends to it.
    """

    def __init__(
        self,
        network: Any,
        sampling: Sampling,
        *,
        fused_attention: bool = False,
        int8: bool = False,
        fused_int8: bool = False,
        fused: bool = False,
    ) -> None:
        """`fused`: a frame is decoded by one kernel (`depth_kernel`), which takes full weights only."""
        config = network.config.depth_decoder_config
        decoder = network.depth_decoder.model
        self.codebooks: int = config.num_codebooks
        self.sampling = sampling
        self.stack = LlamaStack(
            decoder, config, self.codebooks, fused_attention=fused_attention, int8=int8, fused_int8=fused_int8
        )
        self.cache = self.stack.cache()
        self.projection: Tensor = decoder.inputs_embeds_projector.weight.data
        self.table = _project_table(decoder.embed_tokens.weight.data, self.projection)
        # (codebooks - 1, codes, hidden): the rows of one head are contiguous
        self.heads: Tensor = network.depth_decoder.codebooks_head.weight.data.transpose(1, 2)
        device = self.table.device
        # Separate tensors, not slices of one: a slice of a few bytes would not be aligned for a compiled step.
        self.places = tuple(torch.tensor([place], device=device) for place in range(self.codebooks))
        self.offsets = tuple(torch.tensor([book * config.vocab_size], device=device) for book in range(self.codebooks))
        self.first_places = torch.arange(2, device=device)
        self._kernel: Any = None
        if fused:
            from turngap_agent.tts.csm.depth_kernel import DepthKernel

            self._kernel = DepthKernel(self)

    def decode_frame(self, hidden: Tensor, code: Tensor, noise: Tensor, fuse: Fuse) -> Tensor:
        """Return a frame's codes, shape (codebooks,), from `hidden` (1, backbone hidden) and the first `code` (1,).

        `noise` (codebooks, at least top_k) is uniform; its row 0 is the backbone's. `fuse` may replace `first` and
        `step` (one row), by compiled functions.
        """
        if self._kernel is not None:
            codes: Tensor = self._kernel.decode_frame(hidden, code, noise)
            return codes
        first, step = fuse(self.first, False), fuse(self.step, True)
        drawn = [code]
        for book in range(1, self.codebooks):
            draw = noise[book : book + 1]
            if book == 1:
                code = first(hidden, code, self.heads[0], draw)
            else:
                code = step(code, self.offsets[book - 1], self.places[book], self.heads[book - 1], draw)
            drawn.append(code)
        return torch.cat(drawn)

    def decode_frames(self, hidden: Tensor, code: Tensor, noise: Tensor, cache: KeyValues, fuse: Fuse) -> Tensor:
        """Return the codes (calls, codebooks) of a frame of each call, from `hidden` (calls, backbone hidden).

        `code` (calls,) are the first codes, `noise` (codebooks, calls, at least top_k), `cache` that of so many calls.
        """
        start, step = fuse(self.start_calls, False), fuse(self.step_calls, False)
        start(hidden, cache)
        drawn = [code]
        for book in range(1, self.codebooks):
            code = step(code, self.offsets[book - 1], self.places[book], self.heads[book - 1], noise[book], cache)
            drawn.append(code)
        return torch.stack(drawn, dim=1)

    def start_calls(self, hidden: Tensor, cache: KeyValues) -> None:
        """Compute the first position of each call, the backbone's hidden state, of which only keys and values stay."""
        rows = F.linear(hidden, self.projection)
        self.stack.forward(rows, cache, self.places[0], self.codebooks, calls=len(hidden))

    def step_calls(
        self, code: Tensor, offset: Tensor, place: Tensor, head: Tensor, noise: Tensor, cache: KeyValues
    ) -> Tensor:
        """Return the code after `code` (calls,) of each call."""
        rows = F.embedding(code + offset, self.table)
        hidden = self.stack.forward(rows, cache, place, self.codebooks, calls=len(code))
        return sample(F.linear(hidden, head), noise, self.sampling)

    def first(self, hidden: Tensor, code: Tensor, head: Tensor, noise: Tensor) -> Tensor:
        """Return code 1, shape (1,): the only step with two positions, the backbone's hidden state and code 0."""
        rows = torch.cat((F.linear(hidden, self.projection), F.embedding(code, self.table)))
        return self._draw(rows, self.first_places, head, noise)

    def step(self, code: Tensor, offset: Tensor, place: Tensor, head: Tensor, noise: Tensor) -> Tensor:
        """Return the code after `code`, shape (1,)."""
        return self._draw(F.embedding(code + offset, self.table), place, head, noise)

    def score_codes(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Return the logits (codebooks - 1, codes) of every code of the frame `codes` but the first.

        Each is that after the codes before it, whatever code is the likeliest; for comparisons, in one pass.
        """
        books = torch.cat(self.offsets[: self.codebooks - 1])
        rows = torch.cat((F.linear(hidden, self.projection), F.embedding(codes[:-1] + books, self.table)))
        states = self.stack.forward(rows, self.stack.cache(), torch.cat(self.places), self.codebooks)[1:]
        return torch.einsum("bh,bch->bc", states, self.heads)

    def bytes_read(self) -> int:
        """Return the bytes of weights that one frame reads: the stack in every step, each head once."""
        heads = int(self.heads.numel() * self.heads.element_size())
        return (self.codebooks - 1) * self.stack.bytes_read() + heads

    def _draw(self, rows: Tensor, places: Tensor, head: Tensor, noise: Tensor) -> Tensor:
        hidden = self.stack.forward(rows, self.cache, places, self.codebooks)[-1:]
        return sample(F.linear(hidden, head), noise, self.sampling)


Fuse = Callable[[Callable[..., Any], bool], Callable[..., Any]]
"""Returns a faster function that computes the same; the flag is True if its products have one row."""


def _project_table(embeddings: Tensor, projection: Tensor) -> Tensor:
    """Return every code's embedding after the projection; in pieces, so that the copies stay small."""
    table = torch.empty(len(embeddings), len(projection), device=embeddings.device, dtype=embeddings.dtype)
    for start in range(0, len(embeddings), 4096):
        table[start : start + 4096] = F.linear(embeddings[start : start + 4096], projection)
    return table
