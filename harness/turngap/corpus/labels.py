"""Where speech starts and ends in a clean clip: the truth that the turn gap is measured from, and how firm it is.

Speech ends with the last 10 ms frame over max(-55 dBFS, p95 - 35 dB), where p95 is the 95th percentile of the clip's
frame levels, and starts with the first. It is never taken from a voice activity detector: the last window of a detector
is off by tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.model.records import Pcm16

FLOOR_DBFS = -55.0
BELOW_P95_DB = 35.0
SHIFT_DB = 5.0
"""Both thresholds are moved by this, down and up, to determine how firm a label is."""
MAX_MOVE_MS = 20.0
"""A clip whose end moves further is not used."""


@dataclass(frozen=True, slots=True)
class Label:
    """Where the speech is: samples start_sample up to, not including, end_sample."""

    start_sample: int
    end_sample: int
    low_ms: float
    """The move of the end with both thresholds moved by -5 dB: later, or 0."""
    high_ms: float
    """The move of the end with both thresholds moved by +5 dB: earlier (negative), or 0."""

    @property
    def is_firm(self) -> bool:
        """Whether the end moves by at most 20 ms either way."""
        return max(abs(self.low_ms), abs(self.high_ms)) <= MAX_MOVE_MS


def label_speech(pcm: Pcm16) -> Label | None:
    """Return the label of a clip at 8 kHz, shape (n,); None if nothing in it is speech at the raised thresholds."""
    levels = levels_dbfs(pcm)
    if not len(levels):
        return None
    threshold = speech_threshold_dbfs(pcm)
    over, low, high = (np.flatnonzero(levels > threshold + shift) for shift in (0.0, -SHIFT_DB, SHIFT_DB))
    if not len(high):
        return None
    end, end_low, end_high = (
        min(len(pcm), (int(frames[-1]) + 1) * LEVEL_FRAME_SAMPLES) for frames in (over, low, high)
    )
    return Label(int(over[0]) * LEVEL_FRAME_SAMPLES, end, (end_low - end) / 8, (end_high - end) / 8)


def speech_threshold_dbfs(pcm: Pcm16) -> float:
    """Return the level over which a frame of this clip is speech; shape (n,), n > 0."""
    return max(FLOOR_DBFS, float(np.percentile(levels_dbfs(pcm), 95)) - BELOW_P95_DB)
