"""Where the speech of a noisy recording ends: a label relative to its noise floor, with its uncertainty and its doubts.

The stretches are those of `speech_stretches.py`; the label is from the first one's start to the last one's end. It is
found again with the threshold 1.5 dB lower and higher, with the floor at the 30th and 50th percentile of the levels
after the speech, and with the floor before it: how far the end moves is its uncertainty. The label is not sure where
too little follows the speech to know the floor, where speech is hardly louder than the floor, or where the end moves
far. What fades under the floor is no part of it: in noise a voice ends, for its listeners, where it is not heard.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from turngap.corpus.speech_stretches import (
    FARTHEST_FRAMES,
    FLOOR_FRAMES,
    FLOOR_PERCENTILE,
    FRAME_MS,
    BandLevels,
    Samples,
    find_edge,
    find_rough_stretches,
    find_speech_frames,
    follow_speech,
    measure_bands,
    measure_edge_threshold,
)
from turngap.scenario.turn import PAUSE_MS

SHIFT_DB = 1.5
PERCENTILES = (30.0, FLOOR_PERCENTILE, 50.0)
TAIL_MS = 100.0
"""With less after the speech the floor there is not known."""
MAX_MOVE_MS = 60.0
"""An end that moves further is not sure."""
MIN_CONTRAST_DB = 4.0
_BEFORE_MARGIN_FRAMES = 5
"""A soft onset may begin this early."""
_SMEAR_MS = 20.0
"""Half a window of 25 ms and a frame: how far a level is spread over its neighbours, the least uncertainty."""


@dataclass(frozen=True, slots=True)
class FloorLabel:
    """Where the speech is; times in ms from the start of the recording, exact to 10 ms."""

    start_ms: float
    end_ms: float
    low_ms: float
    """How much later the end may lie: 0 or more, at least 20."""
    high_ms: float
    """How much earlier: 0 or less, at most -20."""
    contrast_db: float
    """How far the loudest tenth of the last stretch is over the floor, as the mean of all bands."""
    pauses_ms: tuple[tuple[float, float], ...]
    """Pauses of 200 ms and more inside."""
    doubts: tuple[str, ...]
    """Why it is not sure, one line each; () if it is."""

    @property
    def is_sure(self) -> bool:
        """Whether there are no doubts."""
        return not self.doubts


def label_by_floor(samples: Samples, rate: int) -> FloorLabel | None:
    """Return the label of one channel of a recording; None where no speech is found over its floor.

    Args:
        samples: Shape (n,): int16, or floats of full scale ±1. At more than 8 kHz a final "s" is found that a telephone
            hardly carries.
        rate: Hz.
    """
    levels = measure_bands(samples, rate)
    stretches, rough = find_speech_frames(levels), find_rough_stretches(levels)
    if not stretches or not rough:
        return None
    first, beyond = rough[-1]
    n = len(levels.excess_db)
    end = find_edge(levels, first, beyond, n)
    moved = _move_end(levels, rough)
    low = max(_SMEAR_MS, FRAME_MS * float(max(moved) - end))
    high = min(-_SMEAR_MS, FRAME_MS * float(min(moved) - end))
    contrast_db = float(np.percentile(levels.excess_db[first:beyond], 90))
    tail_ms = len(samples) / rate * 1000 - FRAME_MS * end
    pauses = [(FRAME_MS * before[1], FRAME_MS * after[0]) for before, after in itertools.pairwise(stretches)]
    return FloorLabel(
        start_ms=float(FRAME_MS * stretches[0][0]),
        end_ms=float(FRAME_MS * end),
        low_ms=low,
        high_ms=high,
        contrast_db=contrast_db,
        pauses_ms=tuple((float(start), float(stop)) for start, stop in pauses if stop - start >= PAUSE_MS),
        doubts=_describe_doubts(tail_ms, contrast_db, low, high),
    )


def _move_end(levels: BandLevels, rough: list[tuple[int, int]]) -> list[int]:
    """Return the last frames of the speech with other thresholds and floors."""
    first, beyond = rough[-1]
    n = len(levels.excess_db)
    shifts = (-SHIFT_DB, 0.0, SHIFT_DB)
    ends = [find_edge(levels, first, beyond, n, shift, share) for shift in shifts for share in PERCENTILES]
    head = rough[0][0] - _BEFORE_MARGIN_FRAMES
    if head >= FLOOR_FRAMES:
        before = measure_edge_threshold(levels.groups[:, max(0, head - FARTHEST_FRAMES) : head])
        ends += [follow_speech(levels, before + shift, first, beyond, n) for shift in shifts]
    return ends


def _describe_doubts(tail_ms: float, contrast_db: float, low_ms: float, high_ms: float) -> tuple[str, ...]:
    doubts = []
    if tail_ms < TAIL_MS:
        doubts.append(
            f"only {max(0.0, tail_ms):.0f} ms follow the speech, and the floor there takes {TAIL_MS:.0f} ms to be known"
        )
    if contrast_db < MIN_CONTRAST_DB:
        doubts.append(f"the speech is only {contrast_db:.1f} dB over the noise floor, under {MIN_CONTRAST_DB:.0f} dB")
    if max(low_ms, -high_ms) > MAX_MOVE_MS:
        doubts.append(
            f"the end moves by {low_ms:+.0f} / {high_ms:+.0f} ms with the threshold and the floor, over "
            f"{MAX_MOVE_MS:.0f} ms"
        )
    return tuple(doubts)
