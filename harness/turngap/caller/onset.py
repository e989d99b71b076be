"""When played audio becomes audible: one definition, for the caller during a call and for scoring after it.

Sound starts in the first played 10 ms frame over -45 dBFS that is followed by at least 30 ms over it in the next 60 ms.
Frames lie on the grid of each contiguous piece of played audio; holes between pieces are silence. The onset is a sample
of that frame or of the one before it, wherever the frames' grid lies: the one from which on the audio has the most
energy over -45 dBFS until the end of the frame.
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
_ONES = np.ones(LEVEL_FRAME_SAMPLES)
_FLOOR_DBFS = -120.0
DBM0_OVER_DBFS = 6.22
"""Levels here are RMS re full scale: a square wave of ±32,768 has 0 dBFS, a sine of that peak -3.01. 0 dBm0 is by
definition the digital milliwatt (ITU-T G.711, clause 5 and table 6), a sine 3.17 dB under the largest that μ-law can
carry, whose peak is 8,159 · 4 = 32,636 here. Decoded, it has -6.22 dBFS; so -45 dBFS are -38.78 dBm0."""


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
    """The level frames over the audible level, normally -45 dBFS, in time order."""

    start_ns: Int64
    """The start of each, shape (n,)."""
    samples: Int64
    """The samples of each: 80, or fewer at the end of a segment; shape (n,)."""


def frame_energies(pcm: Pcm16) -> npt.NDArray[np.float64]:
    """Return the energy of each 10 ms frame, the sum of its squared samples; shape (ceil(n / 80),).

    An incomplete last frame is padded with silence. The sums are whole numbers under 2^53, and so exact.
    """
    if len(pcm) % LEVEL_FRAME_SAMPLES:
        samples = np.zeros(-(-len(pcm) // LEVEL_FRAME_SAMPLES) * LEVEL_FRAME_SAMPLES)
        samples[: len(pcm)] = pcm
    else:
        samples = pcm.astype(np.float64)
    samples *= samples
    energies: npt.NDArray[np.float64] = samples.reshape(-1, LEVEL_FRAME_SAMPLES) @ _ONES
    return energies


def energies_dbfs(energies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the RMS level of frames with these energies in dB re full scale, at least -120; shape (n,) in and out."""
    power = energies / (LEVEL_FRAME_SAMPLES * _FULL_SCALE**2)
    levels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DBFS / 10)))
    return levels


def least_energy_over(dbfs: float) -> float:
    """Return the least energy of a frame whose level is over `dbfs`."""
    about = round(10 ** (dbfs / 10) * LEVEL_FRAME_SAMPLES * _FULL_SCALE**2)
    candidates = np.arange(max(0, about - 2), about + 3, dtype=np.float64)
    return float(candidates[np.argmax(energies_dbfs(candidates) > dbfs)])


def levels_dbfs(pcm: Pcm16) -> npt.NDArray[np.float64]:
    """Return the RMS level of each 10 ms frame in dB re full scale, at least -120; shape (ceil(n / 80),).

    An incomplete last frame is padded with silence.
    """
    return energies_dbfs(frame_energies(pcm))


def format_level(dbfs: float) -> str:
    """Return a level in both units: "-45 dBFS (-39 dBm0)"."""
    return f"{dbfs:.0f} dBFS ({dbfs + DBM0_OVER_DBFS:.0f} dBm0)"


def locate_start(pcm: Pcm16, threshold_dbfs: float) -> int:
    """Return the sample from which on `pcm`, shape (n,), has the most energy over the threshold; 0 to n.

    From it to any later sample the audio's mean level is over the threshold; from no earlier sample it is. This is the
    change point of the CUSUM test (Page, Biometrika 41, 1954) for a rise of the power over the threshold: of a sound
    that starts at once it is the first sample, of one that swells the sample where it reaches the threshold.
    """
    return len(pcm) - int(np.argmin(_energy_over(pcm, threshold_dbfs)[::-1]))  # the last of several equal minima


def locate_end(pcm: Pcm16, threshold_dbfs: float) -> int:
    """Return the sample up to which, not including it, `pcm` has the most energy over the threshold: 0 to n.

    The mirror image of `locate_start`.
    """
    return len(pcm) - locate_start(pcm[::-1], threshold_dbfs)


def audible_frames(
    segments: Sequence[Segment], from_ns: int | None = None, audible_dbfs: float = AUDIBLE_DBFS
) -> AudibleFrames:
    """Return the frames of `segments` over that level that start at or after `from_ns`."""
    starts: list[Int64] = []
    samples: list[Int64] = []
    for segment in segments:
        skipped = (
            0 if from_ns is None else max(0, -(-(from_ns - segment.start_ns) // LEVEL_FRAME_NS)) * LEVEL_FRAME_SAMPLES
        )
        pcm = segment.pcm[skipped:]
        audible = np.flatnonzero(levels_dbfs(pcm) > audible_dbfs).astype(np.int64)
        starts.append(segment.start_ns + skipped * NS_PER_SAMPLE + audible * LEVEL_FRAME_NS)
        samples.append(np.minimum(LEVEL_FRAME_SAMPLES, len(pcm) - audible * LEVEL_FRAME_SAMPLES))
    empty = np.empty(0, np.int64)
    return AudibleFrames(np.concatenate([empty, *starts]), np.concatenate([empty, *samples]))


def find_onset(
    segments: Sequence[Segment], from_ns: int | None = None, audible_dbfs: float = AUDIBLE_DBFS
) -> int | None:
    """Return the time of the first onset, in ns on the segments' clock; None if there is none at or after `from_ns`.

    `segments` are in time order and do not overlap. `audible_dbfs` is higher where the agent has a background
    (`background`).
    """
    frames = audible_frames(segments, from_ns, audible_dbfs)
    sums = np.concatenate([[0], np.cumsum(frames.samples)])
    ends_ns = frames.start_ns + LEVEL_FRAME_NS
    first = np.searchsorted(frames.start_ns, ends_ns, side="left")
    beyond = np.searchsorted(frames.start_ns, ends_ns + SUSTAIN_WINDOW_NS, side="left")
    onsets = np.flatnonzero(sums[beyond] - sums[first] >= SUSTAINED_SAMPLES)
    return _refine_onset(segments, int(frames.start_ns[onsets[0]]), from_ns, audible_dbfs) if len(onsets) else None


def _refine_onset(segments: Sequence[Segment], frame_ns: int, from_ns: int | None, audible_dbfs: float) -> int:
    """Return the onset in the frame at `frame_ns` or in the one before it, at or after `from_ns`."""
    segment = next(segment for segment in reversed(segments) if segment.start_ns <= frame_ns)
    frame = (frame_ns - segment.start_ns) // NS_PER_SAMPLE
    earliest = 0 if from_ns is None else -(-(from_ns - segment.start_ns) // NS_PER_SAMPLE)
    first = max(0, frame - LEVEL_FRAME_SAMPLES, earliest)
    at = first + locate_start(segment.pcm[first : frame + LEVEL_FRAME_SAMPLES], audible_dbfs)
    return segment.start_ns + at * NS_PER_SAMPLE


def _energy_over(pcm: Pcm16, threshold_dbfs: float) -> npt.NDArray[np.float64]:
    """Return the energy over the threshold of the first 0, 1 ... n samples, shape (n + 1,)."""
    over = np.square(pcm / _FULL_SCALE) - 10 ** (threshold_dbfs / 10)
    return np.concatenate([[0.0], np.cumsum(over)])
