"""Matrices whose weights are 8-bit integers with a scale for each row: half the bytes to read of a bf16 matrix.

Weights only: the product itself is computed in the numbers of its input. In a compiled unit the conversion is part of
the product's reduction; in a captured one a kernel in Triton reads the integers (`kernels.multiply_int8`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention


class Int8Matrix(NamedTuple):
    """A matrix (out, in): its row r is `values[r] * scale[r]`."""

    values: Tensor
    scale: Tensor
    """float32, whatever the numbers of the products."""
    fused: bool = False
    """Whether products of one row run in the kernel."""


Matrix: TypeAlias = Any
"""A tensor (out, in), or an Int8Matrix."""


def quantise(matrix: Tensor, *, fused: bool = False) -> Int8Matrix:
    """Return `matrix` (out, in), rounded to the nearest integers whose largest in a row is 127."""
    scale = (matrix.float().abs().amax(dim=1) / 127).clamp(min=1e-12)
    values = (matrix.float() / scale.unsqueeze(1)).round().to(torch.int8)
    return Int8Matrix(values, scale, fused)


def multiply(x: Tensor, matrix: Matrix) -> Tensor:
    """Return rows `x` (T, in) times the transpose of `matrix` (out, in)."""
    if isinstance(matrix, Tensor):
        return F.linear(x, matrix)
    if matrix.fused and len(x) == 1:
        from turngap_agent.tts.csm import kernels

        return kernels.multiply_int8(x, matrix.values, matrix.scale)
    # Rounded to the numbers of x once, after the scale, as in the kernel.
    return (F.linear(x.float(), matrix.values.float()) * matrix.scale).to(x.dtype)


def count_bytes(matrix: Matrix) -> int:
    """Return the bytes that a product reads of `matrix`."""
    parts = (matrix,) if isinstance(matrix, Tensor) else (matrix.values, matrix.scale)
    return sum(part.numel() * part.element_size() for part in parts)
