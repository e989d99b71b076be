"""Networks of an exact architecture with random weights, filled at the speed of memory.

Neither latency nor memory depends on the values: such a network shows whether a GPU can hold the budget, without a
download or a licence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TILE = 1_000_003
"""Weights repeat one draw of this many values: initialising 1.6 billion takes minutes. Prime, so that no two rows of a
matrix are equal."""
_STRIDE = 7919


def build(make: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> Any:
    """Return the transformers network that `make` returns, in `dtype` on `device`, with uninitialised weights."""
    from transformers.initialization import no_init_weights

    with _use_default_dtype(dtype), device, no_init_weights():
        network = make().eval()
    network.requires_grad_(requires_grad=False)
    return network


def fill(network: Any, *, seed: int, scale: float, norm: float = 1.0, constants: dict[str, float] | None = None) -> Any:
    """Fill `network` with normal weights of deviation `scale`; norms get biases of 0 and weights of `norm`.

    `constants` maps the end of a parameter's name to the value of all its elements. Returns the random generator, for
    further draws.
    """
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    tile = torch.randn(_TILE, device=device, generator=generator).mul_(scale)
    for number, (name, parameter) in enumerate(network.named_parameters()):
        constant = next((value for end, value in (constants or {}).items() if name.endswith(end)), None)
        if constant is None and "norm" in name:
            constant = 0.0 if name.endswith("bias") else norm
        if constant is not None:
            parameter.data.fill_(constant)
        else:
            _fill_tiled(parameter.data, tile.roll(_STRIDE * number))
    return generator


def _fill_tiled(weight: torch.Tensor, tile: torch.Tensor) -> None:
    flat = weight.view(-1)
    for start in range(0, len(flat), len(tile)):
        piece = flat[start : start + len(tile)]
        piece.copy_(tile[: len(piece)])


@contextmanager
def _use_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
