"""Speech by level: a 32 ms window over a threshold is speech. For tests and fault injection; no model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.endpointing import Voicing
from pipeline.endpointing.windows import WINDOW_SAMPLES, Windows
from pipeline.profile.endpointing import EnergySettings

_FULL_SCALE = 32_768.0


class EnergyEngine:
    """Gives level detectors; there is nothing to load."""

    def __init__(self, settings: EnergySettings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """One line for the ready message and the report."""
        return f"energy, {WINDOW_SAMPLES / 8:g} ms windows over {self._settings.threshold_dbfs:g} dBFS"

    def detector(self) -> EnergyDetector:
        """A fresh detector for one call."""
        return EnergyDetector(self._settings.threshold_dbfs)

    async def warm_up(self) -> None:
        """Nothing to warm."""

    async def close(self) -> None:
        """Nothing to free."""


class EnergyDetector:
    """One call's detector: probability 1 when a window's RMS level is over the threshold, else 0."""

    def __init__(self, threshold_dbfs: float) -> None:
        self._least_rms = _FULL_SCALE * 10 ** (threshold_dbfs / 20)
        self._windows = Windows()

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Take the next 8 kHz samples, shape (n,) for any n; give the windows that became complete."""
        return [Voicing(end, self._probability(window)) for end, window in self._windows.push(pcm)]

    def _probability(self, window: npt.NDArray[np.int16]) -> float:
        rms = float(np.std(window, dtype=np.float64))  # a DC offset is no speech
        return 1.0 if rms > self._least_rms else 0.0
