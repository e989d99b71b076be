"""Matrices of 4-bit integers in groups, for torch's own packed product: it reads what W4A16 on vLLM reads.

Of each row `GROUP` neighbouring weights share a scale, and a weight is `(q - 8) * scale`, q from 0 to 15, as in W4A16
checkpoints of symmetric groups. The product computes in the numbers of its input. Its kernel on a GPU handles 16 rows
at a time and reads the matrix again for each 16: fast for a step, slower than bf16 for a long prompt.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

GROUP = 128
"""Weights that share a scale: that of the published Gemma 3 27B W4A16 checkpoints."""
SMALL_GROUP = 32
"""For networks too narrow for it."""
_INNER_TILES = 8
"""Of the GPU's layout: a step reads as many tiles of 16 columns (1, 2, 4 or 8)."""
_MIDDLE = 8


class Int4Matrix(NamedTuple):
    """A matrix (out, in), packed for the device that it is on."""

    packed: Tensor
    scales: Tensor
    """(groups, out, 2): scale and zero point, which is 0; bf16 on a GPU, else the numbers of the matrix."""
    group: int


Matrix: TypeAlias = Any
"""A tensor (out, in), or an Int4Matrix."""


def quantise(matrix: Tensor, group: int = GROUP) -> Int4Matrix:
    """Return `matrix` (out, in), rounded to the nearest of 15 values a group.

    Raises:
        ValueError: a size that the packed product does not take.
    """
    values, scale = round_groups(matrix, group)
    dtype = torch.bfloat16 if matrix.device.type == "cuda" else matrix.dtype
    scales = torch.stack((scale, torch.zeros_like(scale)), dim=-1).transpose(0, 1).contiguous().to(dtype)
    return Int4Matrix(_pack(values), scales, group)


def round_groups(matrix: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Return integers (out, in) from 1 to 15 and scales (out, groups) whose product is nearest to `matrix`.

    Raises:
        ValueError: rows are no multiple of the group, or outputs none of 16.
    """
    rows, columns = matrix.shape
    if columns % group or rows % 16:
        raise ValueError(f"a matrix of {rows} x {columns} cannot be packed in groups of {group}")
    grouped = matrix.float().view(rows, columns // group, group)
    # In the numbers in which it will be stored, so that the nearest integer is that of the stored scale.
    scale = (grouped.abs().amax(dim=-1) / 7).clamp(min=1e-8).to(torch.bfloat16).float()
    values = (grouped / scale.unsqueeze(-1)).round().clamp(-7, 7) + _MIDDLE
    return values.view(rows, columns).to(torch.int32), scale


def restore(values: Tensor, scale: Tensor) -> Tensor:
    """Return the matrix (out, in) that integers and scales stand for, in float32; the reference of the product."""
    rows, groups = scale.shape
    return ((values - _MIDDLE).view(rows, groups, -1).float() * scale.unsqueeze(-1)).view(rows, -1)


def multiply(x: Tensor, matrix: Matrix) -> Tensor:
    """Return rows `x` (T, in) times the transpose of `matrix` (out, in)."""
    if isinstance(matrix, Tensor):
        return F.linear(x, matrix)
    product = torch.ops.aten._weight_int4pack_mm if x.is_cuda else torch.ops.aten._weight_int4pack_mm_for_cpu
    result: Tensor = product(x, matrix.packed, matrix.group, matrix.scales)
    return result


def _pack(values: Tensor) -> Tensor:
    """Return integers (out, in) in the layout of the device's product (torch, `aten/src/ATen/native`: `int4mm_kernel`).

    A GPU's takes two a byte, the even column in the upper half; a CPU's packs single ones.
    """
    packed: Tensor
    if values.is_cuda:
        pairs = (values[:, ::2] << 4 | values[:, 1::2]).to(torch.uint8)
        packed = torch.ops.aten._convert_weight_to_int4pack(pairs, _INNER_TILES)
    else:
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
    return packed
