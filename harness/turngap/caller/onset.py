"""When played audio becomes audible: one definition, for the caller during a call and for scoring after it.

An onset is the first sample of the first played 10 ms frame over -45 dBFS that is followed by at least 30 ms over it
in the next 60 ms. Frames lie on the grid of each contiguous piece of played audio; holes between pieces are silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Int64, Pcm16

LEVEL_FRAME_SAMPLES = 80
"""10 ms at 8 kHz, the piece of audio that has one level; half a frame of the telephone line."""
LEVEL_FRAME_NS = LEVEL_FRAME_SAMPLES * NS_PER_SAMPLE
AUDIBLE_DBFS = -45.0
SUSTAIN_WINDOW_NS = 60 * NS_PER_MS
"""The time after the first audible frame in which ..."""
SUSTAINED_SAMPLES = 240
"""... this much (30 ms) has to be audible too."""

_FULL_SCALE = 32_768.0
_FLOOR_DBFS = -120.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of audio that was played without a hole."""

    start_ns: int
    pcm: Pcm16
    """Shape (n,), 8 kHz."""

    @property
    def end_ns(self) -> int:
        """The time at which its last sample has been played."""
        return self.start_ns + len(self.pcm) * NS_PER_SAMPLE


@dataclass(frozen=True, slots=True)
class AudibleFrames:
    """The level frames over -45 dBFS, in time order."""

    start_ns: Int64
    """The start of each, shape (n,)."""
    samples: Int64
    """The samples of each: 80, or fewer at the end of a segment; shape (n,)."""


def levels_dbfs(pcm: Pcm16) -> npt.NDArray[np.float64]:
    """Return the RMS level of each 10 ms frame in dB re full scale, at least -120; shape (ceil(n / 80),).

    An incomplete last frame is padded with silence.
    """
    padded = np.zeros(-(-len(pcm) // LEVEL_FRAME_SAMPLES) * LEVEL_FRAME_SAMPLES)
    padded[: len(pcm)] = pcm
    power = np.square(padded / _FULL_SCALE).reshape(-1, LEVEL_FRAME_SAMPLES).mean(axis=1)
    levels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DBFS / 10)))
    return levels


def audible_frames(segments: Sequence[Segment], from_ns: int | None = None) -> AudibleFrames:
    """Return the audible frames of `segments` that start at or after `from_ns`."""
    starts: list[Int64] = []
    samples: list[Int64] = []
    for segment in segments:
        skipped = (
            0 if from_ns is None else max(0, -(-(from_ns - segment.start_ns) // LEVEL_FRAME_NS)) * LEVEL_FRAME_SAMPLES
        )
        pcm = segment.pcm[skipped:]
        audible = np.flatnonzero(levels_dbfs(pcm) > AUDIBLE_DBFS).astype(np.int64)
        starts.append(segment.start_ns + skipped * NS_PER_SAMPLE + audible * LEVEL_FRAME_NS)
        samples.append(np.minimum(LEVEL_FRAME_SAMPLES, len(pcm) - audible * LEVEL_FRAME_SAMPLES))
    empty = np.empty(0, np.int64)
    return AudibleFrames(np.concatenate([empty, *starts]), np.concatenate([empty, *samples]))


def find_onset(segments: Sequence[Segment], from_ns: int | None = None) -> int | None:
    """Return when the first onset starts, in ns on the segments' clock; None if there is none at or after `from_ns`.

    `segments` are in time order and do not overlap.
    """
    frames = audible_frames(segments, from_ns)
    sums = np.concatenate([[0], np.cumsum(frames.samples)])
    ends_ns = frames.start_ns + LEVEL_FRAME_NS
    first = np.searchsorted(frames.start_ns, ends_ns, side="left")
    beyond = np.searchsorted(frames.start_ns, ends_ns + SUSTAIN_WINDOW_NS, side="left")
    onsets = np.flatnonzero(sums[beyond] - sums[first] >= SUSTAINED_SAMPLES)
    return int(frames.start_ns[onsets[0]]) if len(onsets) else None
