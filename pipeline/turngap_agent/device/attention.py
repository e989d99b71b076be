"""Attention with fixed shapes: static keys and values, positions as device tensors, no value read by the host.

A step has the same shapes at every position, so that it can be captured into a CUDA graph once and replayed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

KeyValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, each of shape (kv_heads, positions, head_dim). One tensor a layer, never one for all:
a compiled step then writes them in place instead of copying the whole cache."""


def attend(query: Tensor, keys: Tensor, values: Tensor, hidden_places: Tensor, scale: float) -> Tensor:
    """Return the grouped attention of `query` (T, heads, dim) over `keys` and `values` (kv_heads, places, dim).

    Two batched products: torch's fused kernels take no mask together with grouped heads.

    Args:
        hidden_places: What each row may not see, shape (groups · T, places), the T rows repeated for each group.
        scale: Factor of the scores.

    Returns:
        Shape (T, heads · dim).
    """
    rows, heads, dim = query.shape
    kv_heads = len(keys)
    groups = heads // kv_heads
    # (T, heads, dim) → (kv_heads, groups·T, dim): the heads of one group share their keys
    query = query.reshape(rows, kv_heads, groups, dim).permute(1, 2, 0, 3).reshape(kv_heads, groups * rows, dim)
    scores = torch.bmm(query, keys.transpose(1, 2)).float() * scale
    weights = scores.masked_fill(hidden_places, float("-inf")).softmax(dim=-1).to(values.dtype)
    attended = torch.bmm(weights, values).view(kv_heads, groups, rows, dim)
    return attended.permute(2, 0, 1, 3).reshape(rows, -1)


def make_rotary_tables(frequencies: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (positions, head_dim) for `rotate`, from inverse frequencies (head_dim / 2,)."""
    places = torch.arange(positions, device=frequencies.device, dtype=torch.float32)
    angles = torch.outer(places, frequencies.float())
    return torch.cat((angles.cos(), angles.cos()), dim=-1), torch.cat((-angles.sin(), angles.sin()), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the rotary embedding of `x` (..., head_dim) in Llama's order: the halves of a head are the pairs.

    The sign of the first half's partner is in the table, so that one roll replaces slicing, negating and joining.
    """
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def fuse_projections(*projections: Any) -> Tensor:
    """Return one matrix of the rows of all `projections`, which become views of it: no weight is in memory twice.

    Those that are views of one already yield that one.
    """
    weights = [projection.weight.data for projection in projections]
    rows, columns = sum(map(len, weights)), weights[0].shape[1]
    if _are_adjacent(weights):
        return weights[0].as_strided((rows, columns), (columns, 1))
    fused = torch.cat(weights)
    parts = fused.split([len(weight) for weight in weights])
    for projection, part in zip(projections, parts, strict=True):
        projection.weight.data = part
    return fused


def _are_adjacent(weights: list[Tensor]) -> bool:
    """Return whether the rows of each follow those of the one before it in memory."""
    storage, start = weights[0].untyped_storage().data_ptr(), weights[0].storage_offset()
    for weight in weights:
        if weight.untyped_storage().data_ptr() != storage or weight.storage_offset() != start:
            return False
        if not weight.is_contiguous():
            return False
        start += weight.numel()
    return True
