"""Whisper's log-mel frames in numpy: 80 bands, windows of 25 ms, one frame each 10 ms; the input of Smart Turn."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from turngap_agent.endpointing import AudioF32

RATE = 16_000
BANDS = 80
WINDOW, STEP = 400, 160
"""Samples of a window, and from one to the next."""
_LINEAR_HZ = 200 / 3
"""Of one mel, below 1 kHz: Slaney's scale (Auditory Toolbox), linear there and logarithmic above."""
_LOG_FROM_HZ, _LOG_STEP = 1000.0, np.log(6.4) / 27
_FLOOR, _RANGE = 1e-10, 8.0
"""Whisper's own: power below the floor, and powers of ten below the loudest, are not told apart."""


def log_mel(audio: AudioF32) -> NDArray[np.float32]:
    """Return the frames of 16 kHz `audio` (n,), shape (BANDS, n / STEP): centred windows, scaled as Whisper expects."""
    padded = np.pad(audio, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP][: len(audio) // STEP]
    spectrum = np.fft.rfft(windows * _hann(), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    levels = np.log10(np.maximum(_mel_bands() @ power.T, _FLOOR))
    return np.asarray((np.maximum(levels, levels.max() - _RANGE) + 4) / 4, np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    return np.asarray(np.hanning(WINDOW + 1)[:-1], np.float32)


@cache
def _mel_bands() -> NDArray[np.float32]:
    """Return the weights of the spectrum's bins in each band, (BANDS, WINDOW / 2 + 1): triangles of equal area."""
    edges_hz = _hz(np.linspace(0.0, _mel(RATE / 2), BANDS + 2))
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None], np.float32)


def _mel(hz: float) -> float:
    if hz < _LOG_FROM_HZ:
        return hz / _LINEAR_HZ
    return float(_LOG_FROM_HZ / _LINEAR_HZ + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    start = _LOG_FROM_HZ / _LINEAR_HZ
    return np.where(mels < start, mels * _LINEAR_HZ, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels - start)))
