"""Where speech starts and ends in a clean clip: the truth that the turn gap is measured from, and how firm it is.

Speech ends in the last 10 ms frame over max(-55 dBFS, p95 - 35 dB), where p95 is the 95th percentile of the clip's
frame levels, or in the frame after it: with the sample up to which the audio has the most energy over that threshold,
counted from the start of the former. It starts in the mirror image of that, in the first such frame or the one before
it. So neither depends on where the frames lie. Speech is never taken from a voice activity detector: the last window of
a detector is off by tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs, locate_end, locate_start
from turngap.model.records import Pcm16

FLOOR_DBFS = -55.0
BELOW_P95_DB = 35.0
SHIFT_DB = 5.0
"""Both thresholds are moved by this, down and up, to determine how firm a label is."""
MAX_MOVE_MS = 30.0
"""A clip whose end moves further is not used. (Ends that were counted in whole 10 ms frames could move by two.)"""


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
        """Whether the end moves by at most `MAX_MOVE_MS` either way."""
        return max(abs(self.low_ms), abs(self.high_ms)) <= MAX_MOVE_MS


def label_speech(pcm: Pcm16) -> Label | None:
    """Return the label of a clip at 8 kHz, shape (n,); None if nothing in it is speech at the raised thresholds."""
    levels = levels_dbfs(pcm)
    if not len(levels):
        return None
    threshold = speech_threshold_dbfs(pcm)
    if not np.any(levels > threshold + SHIFT_DB):
        return None
    over = {shift: np.flatnonzero(levels > threshold + shift) for shift in (0.0, -SHIFT_DB, SHIFT_DB)}
    end, end_low, end_high = (end_of_speech(pcm, int(frames[-1]), threshold + shift) for shift, frames in over.items())
    start = start_of_speech(pcm, int(over[0.0][0]), threshold)
    return Label(start, end, (end_low - end) / 8, (end_high - end) / 8)


def speech_threshold_dbfs(pcm: Pcm16) -> float:
    """Return the level over which a frame of this clip is speech; shape (n,), n > 0."""
    return max(FLOOR_DBFS, float(np.percentile(levels_dbfs(pcm), 95)) - BELOW_P95_DB)


def start_of_speech(pcm: Pcm16, frame: int, threshold_dbfs: float) -> int:
    """Return the sample at which speech starts, given the first 10 ms frame over the threshold."""
    first = max(0, frame - 1) * LEVEL_FRAME_SAMPLES
    return first + locate_start(pcm[first : (frame + 1) * LEVEL_FRAME_SAMPLES], threshold_dbfs)


def end_of_speech(pcm: Pcm16, frame: int, threshold_dbfs: float) -> int:
    """Return the sample up to which, not including it, speech lasts, given the last 10 ms frame over the threshold."""
    first = frame * LEVEL_FRAME_SAMPLES
    return first + locate_end(pcm[first : first + 2 * LEVEL_FRAME_SAMPLES], threshold_dbfs)
