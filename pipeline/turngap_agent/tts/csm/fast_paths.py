"""Faster ways to compute a frame, each an option until it has been measured on a GPU: all are off by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FusedKernel = Literal["sampling", "attention", "int8", "depth"]


@dataclass(frozen=True, slots=True)
class FastPaths:
    """Which of them are used; without any, every unit is torch's operations, one after the other: the reference."""

    fused: frozenset[FusedKernel] = frozenset()
    """Chains of operations that one kernel in Triton replaces (`kernels`); `int8` is that of 8-bit matrices, `depth`
    the whole depth decoder (`depth_kernel`)."""
    codec_beside: bool = False
    """The codec of a frame runs on a stream of its own, beside the backbone's step of the next one."""
    int8_depth: bool = False
    """The depth decoder's layers are read as 8-bit integers: half the bytes of a frame's largest part, other codes."""
    dependent_launch: bool = False
    """A compiled kernel is launched before the one before it has ended, and waits inside (Hopper and later)."""
    batched: bool = False
    """The depth decoders of several calls' frames run as one, each weight read once (`batch`)."""


REFERENCE = FastPaths()
"""None of them."""
