"""Speech by level: a 32 ms window over a threshold is speech. For tests and fault injection; no model."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from turngap_agent.endpointing import Voicing
from turngap_agent.endpointing.windows import WINDOW_SAMPLES, Windows, level_dbfs
from turngap_agent.engines import LoadedEngine, VadSettings


class EnergySettings(VadSettings):
    """Scripted: 32 ms windows over a level are speech. For tests and fault injection."""

    engine: Literal["energy"]
    threshold_dbfs: float = Field(-45.0, le=0)

    def build(self) -> LoadedEngine:
        """Return the engine; nothing is loaded."""
        return EnergyEngine(self)


class EnergyEngine:
    """Makes level detectors; there is nothing to load."""

    def __init__(self, settings: EnergySettings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"energy, {WINDOW_SAMPLES / 8:g} ms windows over {self._settings.threshold_dbfs:g} dBFS"

    def detector(self) -> EnergyDetector:
        """Return a fresh detector for one call."""
        return EnergyDetector(self._settings.threshold_dbfs)

    async def warm_up(self) -> None:
        """Nothing to warm."""

    async def close(self) -> None:
        """Nothing to free."""


class EnergyDetector:
    """One call's detector: probability 1 when a window's RMS level is over the threshold, else 0."""

    def __init__(self, threshold_dbfs: float, start: int = 0) -> None:
        """`start`: the position in the stream of the first sample that it gets."""
        self._threshold_dbfs = threshold_dbfs
        self._windows = Windows(start)

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Take the next 8 kHz samples, shape (n,) for any n; return the windows that became complete."""
        judged = [(end, level_dbfs(window)) for end, window in self._windows.push(pcm)]
        return [Voicing(end, 1.0 if level > self._threshold_dbfs else 0.0, level) for end, level in judged]
