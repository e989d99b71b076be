"""Where somebody speaks in a recording with noise: stretches of speech relative to the noise floor around them.

For audio whose floor is not known before: natural talk, a noisy room, one channel of a telephone call. (A clean clip is
labelled by `labels.py`, to the sample.) In 24 bands with equal steps of mel, 200 Hz to 7.5 kHz or to what the rate
carries, the levels of 10 ms frames are compared with a floor that follows the recording: the 20th percentile of each
band within ±1.5 s, raised to the noise's mean (minimum statistics with a percentile in the minimum's place: Martin,
IEEE Trans. Speech and Audio Processing 9, 2001; Stahl et al., ICASSP 2000). Speech is where the excess over it, as the
mean of all bands, exceeds 2 dB and somewhere 4 dB. Both ends are then moved to where the last of three groups of bands
(a final "s" is in the highest alone) falls to the floor beyond the end, as `find_edge` finds it.

Not the search of `recordings/speech.py`: that reads hours of a call block by block, as power in steps of 1.25 ms, masks
what leaks from the other channel, and moves each edge by its threshold. Here a short recording is in memory as a whole,
and what its noise hides is found by its spectrum, which power alone does not have.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import percentile_filter, uniform_filter1d
from turngap_agent.telephony import SAMPLE_RATE

from turngap.scenario import PAUSE_MS

Samples = npt.NDArray[np.floating] | npt.NDArray[np.int16]
Levels = npt.NDArray[np.float64]

FRAME_MS = 10
SHORTEST_MS = 100
"""A shorter sound is a click."""
OVER_FLOOR_DB, SURE_OVER_FLOOR_DB = 2.0, 4.0
EDGE_OVER_FLOOR_DB, EDGE_OVER_SPREAD = 4.0, 2.0
"""An edge is where a group falls to the floor beyond it by this, or by so many times the floor's own spread."""
ABSOLUTE_DBFS, BELOW_P95_DB = -55.0, 35.0
"""No frame under the threshold of a clean clip's label is speech, however low the floor is."""
FLOOR_PERCENTILE = 40.0
"""The floor is a little under the median of its levels: some of what follows the speech may be none of it."""
FLOOR_FRAMES = 8
"""With fewer frames beyond an edge the floor there is not known."""
FARTHEST_FRAMES = 100
"""The floor of an edge is that of the second beyond it."""
_BANDS, _GROUPS = 24, 3
_FROM_HZ, _TO_HZ, _OF_NYQUIST = 200.0, 7500.0, 0.94
_WINDOW_MS, _FFT = 25, 1024
_SMOOTHED_FRAMES, _SCORE_FRAMES, _FLOOR_SMOOTHED_FRAMES = 3, 5, 51
_RUNNING_PERCENTILE, _FLOOR_HALF_FRAMES, _FLOOR_BIAS_DB = 20.0, 150, 3.0
"""20 % of a band's levels in noise alone lie 3 dB or more under their mean, as smoothed here."""
_SILENCE = 1e-9


@dataclass(frozen=True, slots=True)
class SpeechStretch:
    """A stretch of speech: samples start_sample up to, not including, end_sample; exact to a frame of 10 ms."""

    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class BandLevels:
    """What is known of a recording's frames of 10 ms."""

    groups: Levels
    """The mean level of each of three groups of bands, low to high, dB; shape (groups, frames)."""
    excess_db: Levels
    """The mean excess of all bands over the floor that follows the recording; shape (frames,)."""
    audible: npt.NDArray[np.bool_]
    """Whether the frame's whole level is over the threshold of a clean clip's label; shape (frames,)."""

    def reverse(self) -> BandLevels:
        """Return the levels from the last frame to the first."""
        return BandLevels(self.groups[:, ::-1], self.excess_db[::-1], self.audible[::-1])


def find_speech_by_bands(samples: Samples, rate: int = SAMPLE_RATE) -> tuple[SpeechStretch, ...]:
    """Return the stretches of speech of one channel, in order; a gap of less than 200 ms separates none.

    Args:
        samples: Shape (n,): int16, or floats of full scale ±1.
        rate: Hz, 8,000 or more.
    """
    frame = rate * FRAME_MS // 1000
    stretches = find_speech_frames(measure_bands(samples, rate))
    return tuple(SpeechStretch(first * frame, min(beyond * frame, len(samples))) for first, beyond in stretches)


def find_speech_frames(levels: BandLevels) -> list[tuple[int, int]]:
    """Return the stretches of speech as frames, each from the first up to, not including, the second."""
    rough = find_rough_stretches(levels)
    n, mirror = len(levels.excess_db), levels.reverse()
    edges = []
    for index, (first, beyond) in enumerate(rough):
        before = rough[index - 1][1] if index else 0
        after = rough[index + 1][0] if index + 1 < len(rough) else n
        end = find_edge(levels, first, beyond, after)
        start = n - find_edge(mirror, n - beyond, n - first, n - before)
        edges.append((start, end))
    return [(first, beyond) for first, beyond in _join(edges) if (beyond - first) * FRAME_MS >= SHORTEST_MS]


def find_rough_stretches(levels: BandLevels) -> list[tuple[int, int]]:
    """Return where the excess over the floor is that of speech, in frames; gaps of less than 200 ms are closed."""
    over = (levels.excess_db > OVER_FLOOR_DB) & levels.audible
    sure = levels.excess_db > SURE_OVER_FLOOR_DB
    runs = [(first, beyond) for first, beyond in _find_runs(over) if sure[first:beyond].any()]
    return _join([(first, beyond) for first, beyond in runs if (beyond - first) * FRAME_MS >= SHORTEST_MS])


def find_edge(
    levels: BandLevels, first: int, beyond: int, limit: int, shift_db: float = 0.0, percentile: float = FLOOR_PERCENTILE
) -> int:
    """Return the frame beyond the last one of a stretch that is over the floor which follows it.

    The floor is the 40th percentile of each group's levels from the edge to `limit`, its spread how far they lie under
    their median: speech only raises levels. As the floor depends on the edge, both are found in turns. From 100 ms
    before the rough end on, a gap of 200 ms ends it.

    Args:
        levels: The recording's.
        first: The stretch's first frame.
        beyond: The frame beyond its last, roughly.
        limit: Where the next stretch begins, or the frames end.
        shift_db: What is added to the threshold.
        percentile: What percentile of the levels beyond the edge is the floor.
    """
    edge = beyond
    for _ in range(8):
        tail = slice(min(edge + _SMOOTHED_FRAMES, max(0, limit - FLOOR_FRAMES)), min(limit, edge + FARTHEST_FRAMES))
        threshold = measure_edge_threshold(levels.groups[:, tail], percentile) + shift_db
        new = follow_speech(levels, threshold, first, beyond, limit)
        if new == edge:
            break
        edge = new
    return edge


def measure_edge_threshold(tail: Levels, percentile: float = FLOOR_PERCENTILE) -> Levels:
    """Return for each group the level, dB, over which a frame is none of the floor's; `tail` has shape (groups, n)."""
    floor = np.percentile(tail, percentile, axis=1)
    spread = np.percentile(tail, 50, axis=1) - np.percentile(tail, 16, axis=1)
    threshold: Levels = floor + np.maximum(EDGE_OVER_FLOOR_DB, EDGE_OVER_SPREAD * spread)
    return threshold


def measure_bands(samples: Samples, rate: int) -> BandLevels:
    """Return the levels of a recording's whole frames; `samples` as `find_speech_by_bands` takes them."""
    audio = np.asarray(samples, np.float64) / (32_768.0 if np.issubdtype(samples.dtype, np.integer) else 1.0)
    hop, window = rate * FRAME_MS // 1000, rate * _WINDOW_MS // 1000
    n = len(audio) // hop
    if not n:
        return BandLevels(np.zeros((_GROUPS, 0)), np.zeros(0), np.zeros(0, np.bool_))
    bands = uniform_filter1d(_band_levels(audio, rate, hop, window), _SMOOTHED_FRAMES, axis=0, mode="nearest")
    floor = percentile_filter(bands, _RUNNING_PERCENTILE, size=(2 * _FLOOR_HALF_FRAMES + 1, 1), mode="nearest")
    floor = uniform_filter1d(floor, _FLOOR_SMOOTHED_FRAMES, axis=0, mode="nearest") + _FLOOR_BIAS_DB
    excess = uniform_filter1d(np.maximum(0, bands - floor).mean(axis=1), _SCORE_FRAMES, mode="nearest")
    power = np.square(audio[: n * hop]).reshape(n, hop).mean(axis=1)
    whole = 10 * np.log10(power + 1e-12)
    audible = whole > max(ABSOLUTE_DBFS, float(np.percentile(whole, 95)) - BELOW_P95_DB)
    groups = bands.reshape(n, _GROUPS, _BANDS // _GROUPS).mean(axis=2).T
    return BandLevels(groups, excess, audible)


def _band_levels(audio: Levels, rate: int, hop: int, window: int) -> Levels:
    """Return the level of each band in a window around each frame's middle, dB; shape (frames, bands)."""
    n = len(audio) // hop
    padded = np.concatenate([np.zeros(window // 2), audio, np.zeros(window)])
    at = np.arange(window)[None] + hop * np.arange(n)[:, None] + hop // 2
    size = max(_FFT, 1 << (window - 1).bit_length())
    power = np.square(np.abs(np.fft.rfft(padded[at] * np.hanning(window), size)))
    bins = np.fft.rfftfreq(size, 1 / rate)
    top = min(_TO_HZ, rate / 2 * _OF_NYQUIST)
    edges = _to_hz(np.linspace(_to_mel(_FROM_HZ), _to_mel(top), _BANDS + 1))
    means = [power[:, (bins >= low) & (bins < high)].mean(axis=1) for low, high in itertools.pairwise(edges)]
    levels: Levels = 10 * np.log10(np.stack(means, axis=1) + _SILENCE)
    return levels


def _to_mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1 + hz / 700.0))


def _to_hz(mel: Levels) -> Levels:
    hz: Levels = 700.0 * (10 ** (mel / 2595.0) - 1)
    return hz


def follow_speech(levels: BandLevels, threshold: Levels, first: int, beyond: int, limit: int) -> int:
    """Return the frame beyond the last of a stretch that is over the threshold in any group; gaps of 200 ms end it.

    Arguments as `find_edge` takes them; `threshold` is one level for each group, dB.
    """
    start = last = max(first, beyond - SHORTEST_MS // FRAME_MS)
    over = ((levels.groups > threshold[:, None]).any(axis=0) & levels.audible)[:limit]
    for frame in np.flatnonzero(over[start:]) + start:
        if (frame - last) * FRAME_MS > PAUSE_MS:
            break
        last = int(frame)
    return last + 1


def _find_runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    steps = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return [
        (int(first), int(beyond))
        for first, beyond in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    ]


def _join(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the stretches with those joined between which there are less than 200 ms."""
    joined: list[tuple[int, int]] = []
    for first, beyond in stretches:
        if joined and (first - joined[-1][1]) * FRAME_MS < PAUSE_MS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], beyond))
        else:
            joined.append((first, beyond))
    return joined
