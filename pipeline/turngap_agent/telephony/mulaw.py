"""Convert μ-law (ITU-T G.711) to and from 16-bit linear PCM, by table: microseconds a frame, no file format needed.

The expansion is G.711's own: 8-bit code → 14-bit magnitude, scaled to 16 bits. Compression takes the nearest code
below the decision level, as the reference implementation (ITU-T G.191 `ulaw_compress`) does after its bias of 33 (132
at 16 bits) and clip at 32,635.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pcm16 = npt.NDArray[np.int16]

_BIAS = 132
_CLIP = 32_635


def _decode_table() -> Pcm16:
    code = ~np.arange(256, dtype=np.uint8)
    sign, exponent, mantissa = code & 0x80, (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + _BIAS) << exponent.astype(np.int32)) - _BIAS
    return np.where(sign, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> npt.NDArray[np.uint8]:
    pcm = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    sign = np.where(pcm < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(pcm), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    code: npt.NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return code


_DECODE = _decode_table()
_ENCODE = _encode_table()
SILENCE = b"\xff"
"""The code of a zero sample."""


def encode(pcm: Pcm16) -> bytes:
    """Compress int16 PCM, shape (n,), to n μ-law bytes."""
    return _ENCODE[np.ascontiguousarray(pcm, dtype=np.int16).view(np.uint16)].tobytes()


def decode(data: bytes) -> Pcm16:
    """Expand n μ-law bytes to int16 PCM, shape (n,)."""
    return _DECODE[np.frombuffer(data, dtype=np.uint8)]
