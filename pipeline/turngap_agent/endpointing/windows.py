"""Cuts a call's audio, which arrives in frames of any length, into the 32 ms windows that a detector takes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_FULL_SCALE = 32_768.0
SILENT_DBFS = -120.0
"""The level reported for digital silence."""
WINDOW_SAMPLES = 256
"""32 ms at 8 kHz: the window that Silero VAD was trained on at this rate."""


class Windows:
    """Collects samples until windows are full, and counts the stream's position."""

    def __init__(self, start: int = 0) -> None:
        """`start`: the position of the first sample."""
        self._rest: npt.NDArray[np.int16] = np.zeros(0, np.int16)
        self._end = start

    def push(self, pcm: npt.NDArray[np.int16]) -> list[tuple[int, npt.NDArray[np.int16]]]:
        """Take samples, shape (n,); return the windows now full, each with the position of the sample after it."""
        audio = np.concatenate([self._rest, pcm])
        full = len(audio) // WINDOW_SAMPLES
        windows = []
        for window in audio[: full * WINDOW_SAMPLES].reshape(full, WINDOW_SAMPLES):
            self._end += WINDOW_SAMPLES
            windows.append((self._end, window))
        self._rest = audio[full * WINDOW_SAMPLES :]
        return windows


def level_dbfs(pcm: npt.NDArray[np.int16]) -> float:
    """Return the RMS level of samples, shape (n,), re full scale, at least SILENT_DBFS; a DC offset does not count."""
    power = float(np.var(pcm / _FULL_SCALE)) if len(pcm) else 0.0
    return 10 * math.log10(max(power, 1e-12))
