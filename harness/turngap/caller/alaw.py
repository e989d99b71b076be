"""A-law (ITU-T G.711) to and from 16-bit linear PCM, by table."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Pcm16 = npt.NDArray[np.int16]


@cache
def alaw_values() -> npt.NDArray[np.float64]:
    """Return the sample that each byte of A-law stands for, shape (256,) (ITU-T G.711, table 1, at 16 bits)."""
    codes = np.arange(256) ^ 0x55
    segment, mantissa = (codes >> 4) & 7, codes & 15
    sizes = np.where(segment == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, sizes, -sizes).astype(np.float64)


def decode(data: bytes) -> Pcm16:
    """Expand n bytes of A-law to int16 PCM, shape (n,)."""
    return alaw_values().astype(np.int16)[np.frombuffer(data, np.uint8)]


def encode(pcm: Pcm16) -> bytes:
    """Compress int16 PCM, shape (n,), to n bytes of A-law: the codes whose values are nearest."""
    codes = np.argsort(alaw_values(), kind="stable")
    values = alaw_values()[codes]
    nearest = codes[np.searchsorted((values[1:] + values[:-1]) / 2, pcm.astype(np.float64))]
    return nearest.astype(np.uint8).tobytes()
