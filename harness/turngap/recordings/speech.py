"""Where speech is on one channel of a recording: stretches over the channel's own floor, and how firm their ends are.

The floor is what the channel carries while nobody speaks: in each second, the 10th percentile of the levels within
15 s. A frame is speech if it is 12 dB over the floor and within 26 dB of the channel's loud speech, its 90th
percentile; a threshold is never nearer to that than 15 dB. What the other channel explains as leakage is no speech.
Stretches that are apart by less than 200 ms are one. Each starts and ends by its own level: with its first and last
sound within 25 dB of the loud frames near that end and 6 dB over the floor, by the change point of its power, as labels
do. Pure.

Not the search of `corpus/speech_stretches.py`, which is for one short recording in noise: it needs the whole spectrum,
knows no second channel, and is exact to 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turngap.recordings.power import FRAME_MS, FRAME_STEPS, SILENCE_DBFS, STEP_MS, Floats, levels_dbfs

Bools = npt.NDArray[np.bool_]

OVER_FLOOR_DB, BELOW_LOUD_DB, LEAST_BELOW_LOUD_DB = 12.0, 26.0, 15.0
EDGE_OVER_FLOOR_DB, EDGE_BELOW_DB = 6.0, 25.0
LOWEST_DBFS = -70.0
"""No speech is quieter than this, whatever the floor."""
FLOOR_WINDOW_S, FLOOR_PERCENTILE = 30, 10.0
CLOSED_MS = 200.0
"""Shorter silences are inside a stretch: closures of stops, and breaths."""
SHORTEST_MS, LEAST_SOUND_MS = 100.0, 60.0
NEAR_EDGE_MS = 1000.0
"""The part of a stretch whose level decides its edge."""
REACH_MS = 150.0
"""So far outside its frames over the threshold an edge is looked for."""
SUSTAIN_FRAMES, SUSTAINED_FRAMES = 7, 4
"""An edge's frame, and 30 ms of the 60 ms after it, are over the threshold: a click starts nothing."""
BREATH_HOLE_MS, BREATH_BELOW_DB = 50.0, 15.0
"""Sound before a hole of this length, and so much quieter than the speech after it, is a breath."""
RISE_FRAMES, RISE_OVER_FLOOR_DB, RISE_OVER_BEFORE_DB = 4, 6.0, 3.0
SHIFT_DB = 5.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A start or an end of speech, with where it lies if its threshold is moved."""

    at_ms: float
    earliest_ms: float
    latest_ms: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Speech of one speaker without a pause of 200 ms."""

    start: Edge
    end: Edge
    level_dbfs: float

    @property
    def length_ms(self) -> float:
        """From its start to its end."""
        return self.end.at_ms - self.start.at_ms


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel carries."""

    stretches: tuple[Stretch, ...]
    floor_dbfs: float
    """The median of its floor."""
    loud_dbfs: float | None
    """The level of its loud speech; None without any."""


def find_speech_by_level(power: Floats, leaked: Bools | None = None) -> Channel:
    """Return the stretches of speech of a channel with that power (`PowerMeter`), in order.

    `leaked`: for each 10 ms frame, whether another channel's sound explains it; shape (n // 8,).
    """
    levels = levels_dbfs(power)
    if not len(levels):
        return Channel((), -120.0, None)
    floor = measure_floor(levels)
    own = np.ones(len(levels), bool) if leaked is None else ~leaked
    loud = measure_loudness(levels, floor, own)
    if loud is None:
        return Channel((), float(np.median(floor)), None)
    thresholds = _thresholds(floor, loud)
    over = _drop_clicks((levels > thresholds) & own)
    masked = np.where(own, levels, np.float32(SILENCE_DBFS))
    stretches: list[Stretch] = []
    for first, beyond in _close(over, round(CLOSED_MS / FRAME_MS)):
        stretch = _make_stretch(power, masked, floor, first, beyond)
        if stretch is not None and (not stretches or stretch.start.at_ms >= stretches[-1].end.at_ms):
            stretches.append(stretch)
    return Channel(tuple(stretches), float(np.median(floor)), loud)


def measure_floor(levels: Floats) -> Floats:
    """Return the floor at each frame: the 10th percentile of the levels around it, in a window of 30 s."""
    frames_per_s = round(1000 / FRAME_MS)
    seconds = -(-len(levels) // frames_per_s)
    half = FLOOR_WINDOW_S // 2 * frames_per_s
    floors = [
        np.percentile(levels[max(0, at - half) : at + half], FLOOR_PERCENTILE)
        for at in range(frames_per_s // 2, seconds * frames_per_s, frames_per_s)
    ]
    return np.repeat(np.asarray(floors, np.float32), frames_per_s)[: len(levels)]


def measure_loudness(levels: Floats, floor: Floats, own: Bools) -> float | None:
    """Return the level of the loud speech: the 90th percentile of the frames over the floor; None if there are none."""
    candidates = levels[own & (levels > np.maximum(floor + OVER_FLOOR_DB, LOWEST_DBFS))]
    if len(candidates) * FRAME_MS < SHORTEST_MS:
        return None
    return float(np.percentile(candidates, 90))


def _thresholds(floor: Floats, loud: float) -> Floats:
    over: Floats = np.clip(
        np.maximum(floor + OVER_FLOOR_DB, LOWEST_DBFS), loud - BELOW_LOUD_DB, loud - LEAST_BELOW_LOUD_DB
    )
    return over


def _drop_clicks(over: Bools) -> Bools:
    """Return the frames with three of the five around them over the threshold, in runs or with a hole."""
    near = np.convolve(over, np.ones(5), "same") >= 3
    kept: Bools = over & near
    return kept


def _close(over: Bools, frames: int) -> list[tuple[int, int]]:
    """Return runs (first frame, frame after the last) with shorter holes closed."""
    places = np.flatnonzero(over)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > frames)
    firsts = [int(places[0]), *(int(places[at + 1]) for at in breaks)]
    lasts = [*(int(places[at]) for at in breaks), int(places[-1])]
    return [
        (first, last + 1)
        for first, last in zip(firsts, lasts, strict=True)
        if (last + 1 - first) * FRAME_MS >= SHORTEST_MS and over[first : last + 1].sum() * FRAME_MS >= LEAST_SOUND_MS
    ]


def _make_stretch(power: Floats, own: Floats, floor: Floats, first: int, beyond: int) -> Stretch | None:
    """Return the stretch of those frames with its edges; `own` has the levels of the frames that are no leakage."""
    near, reach = round(NEAR_EDGE_MS / FRAME_MS), round(REACH_MS / FRAME_MS)
    start_level = float(np.percentile(own[first : min(beyond, first + near)], 90))
    end_level = float(np.percentile(own[max(first, beyond - near) : beyond], 90))
    start_dbfs = max(start_level - EDGE_BELOW_DB, float(floor[first]) + EDGE_OVER_FLOOR_DB)
    end_dbfs = max(end_level - EDGE_BELOW_DB, float(floor[beyond - 1]) + EDGE_OVER_FLOOR_DB)
    # In noise a breath is not told from the start of a word.
    quiet_dbfs = start_level - BREATH_BELOW_DB if start_dbfs == start_level - EDGE_BELOW_DB else SILENCE_DBFS
    from_, to = max(0, first - reach), min(len(own), beyond + reach)
    starts, ends = [], []
    for shift in (0.0, -SHIFT_DB, SHIFT_DB):
        spoken = _skip_breath(own[:beyond], from_, start_dbfs + shift, quiet_dbfs)
        start = _locate_start(power[: beyond * FRAME_STEPS], own[:beyond], floor, spoken, start_dbfs + shift)
        backwards = power[first * FRAME_STEPS : len(own) * FRAME_STEPS][::-1]
        end = _locate_start(backwards, own[first:][::-1], None, len(own) - to, end_dbfs + shift)
        starts.append(None if start is None else start * STEP_MS)
        ends.append(None if end is None else (len(own) * FRAME_STEPS - end) * STEP_MS)
    if starts[0] is None or ends[0] is None or ends[0] - starts[0] < LEAST_SOUND_MS:
        return None
    return Stretch(_make_edge(starts), _make_edge(ends), float(np.percentile(own[first:beyond], 75)))


def _make_edge(places_ms: list[float | None]) -> Edge:
    known = [place for place in places_ms if place is not None]
    return Edge(known[0], min(known), max(known))


def _skip_breath(levels: Floats, from_frame: int, threshold_dbfs: float, quiet_dbfs: float) -> int:
    """Return the frame after a breath before the speech: sound under `quiet_dbfs` that a hole separates from it."""
    hole = round(BREATH_HOLE_MS / FRAME_MS)
    places = from_frame + np.flatnonzero(levels[from_frame:] > threshold_dbfs)
    for at in np.flatnonzero(np.diff(places) > hole).tolist():
        if levels[places[0] : places[at] + 1].max() >= quiet_dbfs:
            break
        from_frame = int(places[at + 1])
    return from_frame


def _locate_start(
    power: Floats, levels: Floats, floor: Floats | None, from_frame: int, threshold_dbfs: float
) -> int | None:
    """Return the step at which speech starts, from that frame on; None if nothing lasts over the threshold.

    With a `floor` the sound's own rise before the threshold belongs to it: up to 40 ms of levels that fall towards the
    floor. Soft consonants begin there, and so do the labels that people set.
    """
    over = levels > threshold_dbfs
    sums = np.concatenate([[0], np.cumsum(over)])
    for frame in (from_frame + np.flatnonzero(over[from_frame:])).tolist():
        if sums[min(len(over), frame + SUSTAIN_FRAMES)] - sums[frame] < SUSTAINED_FRAMES:
            continue
        rise = frame if floor is None else _find_rise(levels, float(floor[frame]), frame)
        if rise < frame:
            return rise * FRAME_STEPS
        first = max(0, frame - 1) * FRAME_STEPS
        excess = power[first : (frame + 1) * FRAME_STEPS].astype(np.float64) - 10 ** (threshold_dbfs / 10)
        return first + int(np.argmax(np.cumsum(excess[::-1])[::-1]))
    return None


def _find_rise(levels: Floats, floor: float, frame: int) -> int:
    """Return the first frame of a rise to the threshold in `frame`: over the floor, and over what was before."""
    before = levels[max(0, frame - 3 * RISE_FRAMES) : max(0, frame - RISE_FRAMES)]
    least = floor + RISE_OVER_FLOOR_DB
    if len(before):
        least = max(least, float(np.median(before)) + RISE_OVER_BEFORE_DB)
    rise = frame
    while rise > max(0, frame - RISE_FRAMES) and least < levels[rise - 1] < levels[rise]:
        rise -= 1
    return rise
