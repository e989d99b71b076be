"""Where the content of one clause starts in its sound, if the clause may hold more than its content. Pure.

A clause may begin with an opening ("um, the office is open"), and an agent may put a tone, a silence or noise in front
of the words that it reports. Without a recogniser only the sound is known. What it leaves open is decided for the
later time, and said: filler that counts as content would make the agent look faster than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turngap.caller import onset
from turngap.caller.onset import Segment
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import Int64, Pcm16

SAMPLES_PER_MS = 8
PAUSE_MS = 200.0
"""Silence that may set content apart from the opening before it."""
LONG_PAUSE_MS = 500.0
"""Silence that a clause without an opening hardly has before its content."""
SLOW_OPENING_WORD_MS = 1_000.0
"""A pause after more sound a word than this is the opening's only if it is long."""
OPENING_WORD_MS = 600.0
"""A word of an opening without a pause takes no longer, in a clause of plausible length."""
FAST_LETTER_MS = 40.0
"""Speech at twice its usual pace: words take at least so long."""
SLOW_LETTER_MS, SLOW_MS = 130.0, 800.0
"""Speech at half its usual pace, and what may be added to it: words take hardly longer."""
STEADY_MS = 300.0
"""A stretch whose level and spectrum do not change for so long is no speech."""
NO_PAUSE = "no pause follows"
"""How the note on an opening without a pause begins."""
_STEADY_SHARE = 0.7
"""A piece of sound of which so much does not change is a tone."""
_DIGIT_LETTERS = 8
_WINDOW, _HOP = 256, 128
_ALIKE = 0.97
"""Least similarity (cosine) of the magnitude spectra of two windows of a steady sound ..."""
_LEVEL_RATIO = 1.15
"""... and the most by which their levels differ."""
_LONGEST_SAMPLES = 60_000 * SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class ClauseOnset:
    """Where content starts in a clause."""

    sample: int
    """From the clause's first audible sample on."""
    note: str = ""
    """Why it is not the clause's first audible sample, or may be none of the content's; "" if nothing is open."""
    after_opening: bool = False
    """A pause sets it apart from the opening."""


def find_clause_onset(
    pcm: Pcm16,
    opening: Sequence[str],
    content: Sequence[str],
    *,
    whole: bool,
    audible_dbfs: float = onset.AUDIBLE_DBFS,
) -> ClauseOnset:
    """Return where content starts in a clause that was played from its first audible sample on.

    Args:
        pcm: The clause as it was played, from its first audible sample on, silence where nothing was; shape (n,).
        opening: The words of the clause that carry no content.
        content: Its other words.
        whole: The clause was played to its end.
        audible_dbfs: Sound over this level is the clause's.
    """
    sound = _Sound.of(pcm, audible_dbfs)
    needed = FAST_LETTER_MS * _count_letters(content, digit=1) * SAMPLES_PER_MS if whole else 0.0
    at, note = _after_pauses(sound, pcm, len(opening), needed, audible_dbfs)
    quoted = " ".join(opening)
    after_opening = bool(opening and note)
    if after_opening:
        note = f"content counts from the last pause that {quoted!r} can precede"
    steady = _measure_steady(pcm[at:])
    if steady >= STEADY_MS * SAMPLES_PER_MS and sound.after(at + steady) >= max(needed, onset.SUSTAINED_SAMPLES):
        at, note = at + steady, "a steady sound is in the clause: content counts from its end"
    latest = sound.leaving(needed)
    left = content if after_opening else [*opening, *content]
    longest = SLOW_MS + SLOW_LETTER_MS * _count_letters(left, digit=_DIGIT_LETTERS)
    if sound.after(at) > longest * SAMPLES_PER_MS:
        note = "the clause sounds longer than its words take: content counts from the latest time at which it can start"
        return ClauseOnset(max(at, latest), note, after_opening)
    if opening and not after_opening:
        slow = sound.passing(at, OPENING_WORD_MS * len(opening) * SAMPLES_PER_MS)
        note = f"{NO_PAUSE} {quoted!r}: content counts from the latest time at which it can start"
        return ClauseOnset(max(at, min(slow, latest)), note)
    return ClauseOnset(at, note, after_opening)


def render(segments: Sequence[Segment], from_ns: int, to_ns: int) -> Pcm16:
    """Return what was played in that time, at most a minute of it, with silence in its holes; shape (n,)."""
    pcm = np.zeros(min(_LONGEST_SAMPLES, max(0, -(-(to_ns - from_ns) // NS_PER_SAMPLE))), np.int16)
    for segment in segments:
        first = -(-(segment.start_ns - from_ns) // NS_PER_SAMPLE)
        begin, end = max(0, first), min(len(pcm), first + len(segment.pcm))
        if begin < end:
            pcm[begin:end] = segment.pcm[begin - first : end - first]
    return pcm


@dataclass(frozen=True, slots=True)
class _Sound:
    """The audible frames of a clause, in samples from its start."""

    starts: Int64
    ends: Int64
    before: Int64
    """Audible samples before each frame, and in all; one more than frames."""

    @classmethod
    def of(cls, pcm: Pcm16, audible_dbfs: float) -> _Sound:
        frames = onset.audible_frames((Segment(0, pcm),), audible_dbfs=audible_dbfs)
        starts = frames.start_ns // NS_PER_SAMPLE
        return cls(starts, starts + frames.samples, np.concatenate([np.zeros(1, np.int64), np.cumsum(frames.samples)]))

    def after(self, sample: int) -> int:
        """Return how many audible samples come at or after `sample`, to a frame."""
        return int(self.before[-1] - self.before[np.searchsorted(self.ends, sample, side="right")])

    def passing(self, sample: int, samples: float) -> int:
        """Return where so many audible samples have passed since `sample`; the end of the sound if there are fewer."""
        done = self.before[np.searchsorted(self.ends, sample, side="right")]
        frame = int(np.searchsorted(self.before[1:], done + samples))
        return int(self.ends[frame]) if frame < len(self.ends) else self.end

    def leaving(self, samples: float) -> int:
        """Return the last place from which on so many samples are audible; 0 if there are fewer."""
        frame = int(np.searchsorted(self.before[:-1], self.before[-1] - max(samples, 1), side="right")) - 1
        return int(self.starts[frame]) if frame >= 0 else 0

    @property
    def end(self) -> int:
        """Where the sound ends."""
        return int(self.ends[-1]) if len(self.ends) else 0


def _after_pauses(sound: _Sound, pcm: Pcm16, opening_words: int, needed: float, audible_dbfs: float) -> tuple[int, str]:
    """Return where the sound after the last pause starts that the content can follow, and a note; 0 and "" if none."""
    gaps = sound.starts[1:] - sound.ends[:-1]
    piece = 0
    at, note = 0, ""
    for place in np.flatnonzero(gaps >= PAUSE_MS * SAMPLES_PER_MS).tolist():
        passed = int(sound.before[place + 1])
        next_ = int(sound.starts[place + 1])
        is_long = gaps[place] >= LONG_PAUSE_MS * SAMPLES_PER_MS
        is_slow = passed > SLOW_OPENING_WORD_MS * SAMPLES_PER_MS * opening_words
        apart = is_long or (not is_slow if opening_words else is_steady(pcm[piece : int(sound.ends[place])]))
        piece = next_
        if apart and sound.before[-1] - passed >= needed:
            start_ns = onset.find_onset((Segment(0, pcm),), int(sound.ends[place]) * NS_PER_SAMPLE, audible_dbfs)
            if start_ns is not None:
                at = start_ns // NS_PER_SAMPLE
                note = "a silence or a tone is in the clause: content counts from the sound after it"
    return at, note


def is_steady(pcm: Pcm16) -> bool:
    """Return whether a piece of sound between two silences is a tone; its edges may be faded."""
    return _measure_steady(pcm) >= max(_STEADY_SHARE * len(pcm), 1)


def _measure_steady(pcm: Pcm16) -> int:
    """Return for how many samples the spectrum and level of `pcm` do not change from its start on."""
    count = 1 + (len(pcm) - _WINDOW) // _HOP
    if count < 2:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    spectra: npt.NDArray[np.float64] = np.abs(np.fft.rfft(windows))
    sizes = np.linalg.norm(spectra, axis=1) + 1e-9
    alike = (spectra[1:] * spectra[:-1]).sum(axis=1) / (sizes[1:] * sizes[:-1]) >= _ALIKE
    ratios = sizes[1:] / sizes[:-1]
    steady = alike & (ratios < _LEVEL_RATIO) & (ratios > 1 / _LEVEL_RATIO) & (sizes[1:] > 1e-3)
    first = int(np.argmin(steady)) if not steady.all() else len(steady)
    return 0 if first == 0 else min(len(pcm), first * _HOP + _WINDOW)


def _count_letters(words: Sequence[str], *, digit: int) -> int:
    return sum(digit if letter.isdigit() else letter.isalpha() for word in words for letter in word)
