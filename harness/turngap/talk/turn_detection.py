"""When a person has stopped speaking, as far as their microphone tells. An estimate: no label made it known before.

As for the labels of clips, speech is what lies over max(-55 dBFS, p95 - 35 dB). A room is not as quiet as a clip, so
it has to be 10 dB over the room as well (the 5th percentile), though never over p95 - 15 dB; and one 10 ms frame is no
speech: three of five in a row are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turngap.caller.onset import FRAME_SAMPLES, levels_dbfs
from turngap.model.records import Pcm16

FLOOR_DBFS, BELOW_P95_DB, OVER_ROOM_DB, NEVER_OVER_DB = -55.0, 35.0, 10.0, 15.0
SHIFT_DB = 5.0
WINDOW, ENOUGH = 5, 3
LEAST_FRAMES = 10
"""A shorter sound is no utterance."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Where the speech is: samples start up to, not including, end."""

    start: int
    end: int
    low_ms: float
    """How far the end moves when the threshold moves by -5 dB ..."""
    high_ms: float
    """... and by +5 dB."""


def speech_in(pcm: Pcm16) -> Speech | None:
    """The first to the last speech of that audio, 8 kHz, shape (n,); None where there is none."""
    levels = levels_dbfs(pcm)
    if len(levels) < WINDOW:
        return None
    loud, room = (float(np.percentile(levels, q)) for q in (95, 5))
    threshold = min(max(FLOOR_DBFS, loud - BELOW_P95_DB, room + OVER_ROOM_DB), loud - NEVER_OVER_DB)
    threshold = max(threshold, FLOOR_DBFS)
    frames, low, high = (_speech_frames(levels > threshold + shift) for shift in (0.0, -SHIFT_DB, SHIFT_DB))
    if len(frames) < LEAST_FRAMES:
        return None
    end, end_low, end_high = (
        min(len(pcm), (int(found[-1]) + 1) * FRAME_SAMPLES) if len(found) else 0 for found in (frames, low, high)
    )
    return Speech(int(frames[0]) * FRAME_SAMPLES, end, (end_low - end) / 8, (end_high - end) / 8 if end_high else 0.0)


def _speech_frames(over: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The frames over the threshold with enough others so beside them."""
    near = np.convolve(over, np.ones(WINDOW), "same") >= ENOUGH
    return np.flatnonzero(over & near).astype(np.int64)
