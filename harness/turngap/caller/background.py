"""What an agent sends while nobody speaks, its background, and the level over which its sound counts as speech.

Many agents play an ambience, music on hold, breath or comfort noise. That is no reply: a reply begins where speech
begins over it. The *quiet time* is where the agent has nothing to say: before the caller's first utterance, and while
the caller speaks. What is audible there is background if it is much fainter than the agent's voice, or faint and
steady; an agent that talks into the caller's speech does so at the level of its voice. An agent that is silent in the
quiet time has no background, and is measured by -45 dBFS, to the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turngap.caller.onset import AUDIBLE_DBFS, LEVEL_FRAME_NS, LEVEL_FRAME_SAMPLES, Segment, levels_dbfs
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Int64

VOICE_OVER_BACKGROUND_DB = 12.0
"""Sound in the quiet time that is closer to the loudest of the call is the agent's voice."""
VOICE_FRAMES = 10
"""So many frames (100 ms) of the call are louder than the level of its voice: a click is not its voice."""
BEFORE_VOICE_NS, AFTER_VOICE_NS = 200 * NS_PER_MS, 300 * NS_PER_MS
"""Faint sound so close to the voice belongs to it: its soft edges, a breath."""
LEAST_NS = 300 * NS_PER_MS
"""Less sound than this is no background ..."""
LEAST_SHARE = 0.1
"""... nor is sound in a smaller share of the quiet time: breath is in a sixth of it."""
BED_DBFS, BED_SHARE = -60.0, 0.5
"""A sound that is over this level in so much of the quiet time may be over -45 dBFS at times: music of -50 dBFS is."""
STEADY_FRAMES, SMOOTHED_FRAMES = 60, 5
"""Sound whose level, over 50 ms, stays the same for 600 ms is no speech, ..."""
STEADY_DB = 4.0
"""... the same: its 2nd and its 98th percentile differ by less; speech swings by 20 dB and more."""
FAINT_DBFS = -25.0
"""Steady sound that is louder may be an agent that speaks in tones."""
UNPAUSED_NS = 8_000 * NS_PER_MS
PAUSE_NS = 150 * NS_PER_MS
"""Music on hold has no such pause in 8 s; a greeting has."""
MARGIN_DB, UNSTEADY_MARGIN_DB, LEAST_MARGIN_DB = 3.0, 5.0, 2.0
"""Speech is louder than the background by the first, or than one whose level changes by the second; but by half the
distance to the voice if that is less, and by the third at least."""
UNSTEADY_DB = 4.0
"""So far is the 98th percentile of a background over its median if its level changes."""
_UPPER = 98.0


@dataclass(frozen=True, slots=True)
class LevelFrames:
    """The level of each played 10 ms frame, in time order; time without a frame is silent."""

    start_ns: Int64
    """Shape (n,)."""
    dbfs: npt.NDArray[np.float64]
    """Shape (n,)."""

    def lie_in(self, times: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
        """Return which frames start in one of these times, (from_ns, to_ns) each; shape (n,)."""
        inside = np.zeros(len(self.start_ns), bool)
        for from_ns, to_ns in times:
            first, beyond = np.searchsorted(self.start_ns, [from_ns, to_ns])
            inside[first:beyond] = True
        return inside


@dataclass(frozen=True, slots=True)
class Background:
    """The background of one call."""

    level_dbfs: float
    """Its upper level: the 98th percentile of its frames."""
    audible_dbfs: float
    """Sound over this level is speech."""


def measure_levels(segments: Sequence[Segment]) -> LevelFrames:
    """Return the level of each 10 ms frame of what was played, on the grid of each piece of it."""
    levels = [levels_dbfs(segment.pcm) for segment in segments]
    starts = [
        segment.start_ns + np.arange(len(level), dtype=np.int64) * LEVEL_FRAME_NS
        for segment, level in zip(segments, levels, strict=True)
    ]
    return LevelFrames(np.concatenate([np.empty(0, np.int64), *starts]), np.concatenate([np.empty(0), *levels]))


def find_background(
    frames: LevelFrames, quiet: Sequence[tuple[int, int]], *, waiting_ns: tuple[int, int] | None = None
) -> Background | None:
    """Return the background of a call; None if the agent has none that is audible.

    Args:
        frames: What was played so far.
        quiet: The quiet time, (from_ns, to_ns) each, in time order.
        waiting_ns: From when to when the caller, who has not spoken yet, has waited for silence; None otherwise.
    """
    is_audible = frames.dbfs > AUDIBLE_DBFS
    if not is_audible.any():
        return None
    in_quiet, steady = frames.lie_in(quiet), _find_steady(frames, is_audible)
    if not steady and waiting_ns is None and not (frames.dbfs[in_quiet] > BED_DBFS).any():
        return None  # as the rest would find out
    voice_dbfs = (
        float(np.partition(frames.dbfs, -VOICE_FRAMES)[-VOICE_FRAMES]) if len(frames.dbfs) > VOICE_FRAMES else 0
    )
    is_voice = frames.dbfs > voice_dbfs - VOICE_OVER_BACKGROUND_DB
    apart = _apart_from(frames, frames.start_ns[is_voice])
    after_voice = np.zeros(len(frames.dbfs), bool)
    for first, beyond in steady:
        begins_ns = int(frames.start_ns[first])
        heard_ns = max((to_ns for _, to_ns in quiet if to_ns <= begins_ns), default=0)
        follows = frames.lie_in([(heard_ns, begins_ns)]) & is_voice  # else it may be what the reply begins with
        after_voice[first:beyond] = apart[first:beyond].all() and bool(follows.any())
    found = is_audible & apart & in_quiet
    eligible_ns = _quiet_apart_ns(quiet, frames.start_ns[is_voice])
    enough = max(LEAST_NS, LEAST_SHARE * eligible_ns)
    if found.sum() * LEVEL_FRAME_NS < enough:
        bed = (frames.dbfs > BED_DBFS) & apart & in_quiet
        if bed.sum() * LEVEL_FRAME_NS >= max(LEAST_NS, BED_SHARE * eligible_ns):
            background = _make_background(frames.dbfs[bed], voice_dbfs)
            if background.audible_dbfs > AUDIBLE_DBFS:
                return background
        found[:] = False
    found |= after_voice
    if found.any():
        return _make_background(frames.dbfs[found], voice_dbfs)
    for first, beyond in steady:
        overlaps_ns = int(in_quiet[first:beyond].sum()) * LEVEL_FRAME_NS
        if overlaps_ns >= LEAST_NS and _upper(frames.dbfs[first:beyond]) < FAINT_DBFS:
            return _make_background(frames.dbfs[first:beyond], None)
    if waiting_ns is not None and waiting_ns[1] - waiting_ns[0] >= UNPAUSED_NS:
        return _unpaused(frames, is_audible, waiting_ns)
    return None


def _make_background(dbfs: npt.NDArray[np.float64], voice_dbfs: float | None) -> Background:
    level = _upper(dbfs)
    margin = UNSTEADY_MARGIN_DB if level - float(np.median(dbfs)) > UNSTEADY_DB else MARGIN_DB
    if voice_dbfs is not None:
        margin = min(margin, max(LEAST_MARGIN_DB, (voice_dbfs - level) / 2))
    return Background(level, max(AUDIBLE_DBFS, level + margin))


def _upper(dbfs: npt.NDArray[np.float64]) -> float:
    return float(np.percentile(dbfs, _UPPER))


def _apart_from(frames: LevelFrames, voice_ns: Int64) -> npt.NDArray[np.bool_]:
    """Return which frames are apart from all frames of the voice, which start at `voice_ns`."""
    if not len(voice_ns):
        return np.ones(len(frames.start_ns), bool)
    after = np.searchsorted(voice_ns, frames.start_ns, side="left")
    next_ns = voice_ns[np.minimum(after, len(voice_ns) - 1)]
    last_ns = voice_ns[np.maximum(after - 1, 0)]
    near_next = (after < len(voice_ns)) & (next_ns - frames.start_ns < BEFORE_VOICE_NS)
    near_last = (after > 0) & (frames.start_ns - last_ns < AFTER_VOICE_NS)
    return ~(near_next | near_last)


def _quiet_apart_ns(quiet: Sequence[tuple[int, int]], voice_ns: Int64) -> float:
    """Return how much of the quiet time is apart from the voice, in steps of a frame."""
    grids = [np.arange(from_ns, to_ns, LEVEL_FRAME_NS, dtype=np.int64) for from_ns, to_ns in quiet if to_ns > from_ns]
    grid = np.concatenate([np.empty(0, np.int64), *grids])
    return float(_apart_from(LevelFrames(grid, np.zeros(len(grid))), voice_ns).sum()) * LEVEL_FRAME_NS


def _find_steady(frames: LevelFrames, is_audible: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, beyond) of pieces of 600 ms, without a hole, that are audible throughout and steady."""
    sums = np.concatenate([[0], np.cumsum(is_audible)])
    first = np.arange(0, len(frames.dbfs) - STEADY_FRAMES + 1, STEADY_FRAMES // 2)
    beyond = first + STEADY_FRAMES
    whole = frames.start_ns[beyond - 1] - frames.start_ns[first] < (STEADY_FRAMES + 5) * LEVEL_FRAME_NS
    first = first[whole & (sums[beyond] - sums[first] == STEADY_FRAMES)]
    if not len(first):
        return []
    power = np.convolve(10 ** (frames.dbfs / 10), np.ones(SMOOTHED_FRAMES) / SMOOTHED_FRAMES, "same")
    smoothed = 10 * np.log10(power + 1e-12)
    inner = smoothed[first[:, np.newaxis] + np.arange(2, STEADY_FRAMES - 2)]
    low, high = np.percentile(inner, [100 - _UPPER, _UPPER], axis=1)
    return [(int(place), int(place) + STEADY_FRAMES) for place in first[high - low < STEADY_DB]]


def _unpaused(frames: LevelFrames, is_audible: npt.NDArray[np.bool_], waiting_ns: tuple[int, int]) -> Background | None:
    """Return the sound of the last 8 s as background if it had no pause."""
    from_ns, to_ns = waiting_ns[1] - UNPAUSED_NS, waiting_ns[1]
    here = frames.lie_in([(from_ns, to_ns)])
    starts_ns = frames.start_ns[here & is_audible]
    edges = np.concatenate([[from_ns], starts_ns, [to_ns]])
    if not len(starts_ns) or np.diff(edges).max() - LEVEL_FRAME_SAMPLES * NS_PER_SAMPLE >= PAUSE_NS:
        return None
    return _make_background(frames.dbfs[here], None)
