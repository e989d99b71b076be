"""The power of a channel over time, in steps of 1.25 ms: all that segmentation needs of an hour of sound. Pure.

An hour has 2.9 million steps a channel, 12 MB, whatever the recording's rate. Rumble and offsets under 100 Hz are
removed first: telephone speech begins at 300 Hz, and a microphone's hum would hide the pauses.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

Floats = npt.NDArray[np.float32]

STEPS_PER_S = 800
STEP_MS = 1000 / STEPS_PER_S
FRAME_STEPS = 8
"""10 ms, the piece that has one level, as in labels and onsets."""
FRAME_MS = FRAME_STEPS * STEP_MS
HIGH_PASS_HZ = 100.0
SILENCE_DBFS = -120.0
_LEAST_POWER = 10 ** (SILENCE_DBFS / 10)


class PowerMeter:
    """Measures the power of one channel block by block: a long recording is never in memory as a whole."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._filter = signal.butter(2, HIGH_PASS_HZ, "highpass", fs=rate, output="sos")
        self._state = np.zeros((len(self._filter), 2))
        self._rest = np.zeros(0)
        self._rest_from = 0
        self._next_step = 0
        self._steps: list[Floats] = []

    def add(self, samples: Floats) -> None:
        """Add the next samples, full scale ±1, shape (n,)."""
        if not len(samples):
            return
        filtered, self._state = signal.sosfilt(self._filter, samples.astype(np.float64), zi=self._state)
        squares = np.concatenate([self._rest, np.square(filtered)])
        until = self._rest_from + len(squares)
        steps = np.arange(self._next_step, until * STEPS_PER_S // self._rate + 2)
        edges = np.rint(steps * (self._rate / STEPS_PER_S)).astype(np.int64)
        edges = edges[edges <= until]
        if len(edges) > 1:
            offsets = edges - self._rest_from
            sums = np.add.reduceat(squares[: offsets[-1]], offsets[:-1])
            self._steps.append((sums / np.diff(offsets)).astype(np.float32))
            self._next_step += len(sums)
            squares, self._rest_from = squares[offsets[-1] :], int(edges[-1])
        self._rest = squares

    def finish(self) -> Floats:
        """Return the mean square of each step, shape (n,); an incomplete last step is left out."""
        return np.concatenate([np.zeros(0, np.float32), *self._steps])


def levels_dbfs(power: Floats) -> Floats:
    """Return the level of each 10 ms frame in dB re full scale, at least -120; shape (n // 8,)."""
    whole = power[: len(power) // FRAME_STEPS * FRAME_STEPS].reshape(-1, FRAME_STEPS)
    levels: Floats = (10 * np.log10(np.maximum(whole.mean(axis=1), _LEAST_POWER))).astype(np.float32)
    return levels
