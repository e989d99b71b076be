"""The talk of a recorded call: speech of both sides without what leaks from the other, and who had the floor.

Reads the sound; everything that it decides is decided by pure code beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from turngap.recordings.leakage import (
    SPAN_FRAMES,
    Leakage,
    mark_leaked,
    measure_leakage,
    select_spans,
)
from turngap.recordings.power import FRAME_MS, levels_dbfs
from turngap.recordings.sound import CallSound, read_span, scan_call
from turngap.recordings.speech import Channel, find_speech_by_level, measure_floor

SAME_SOUND = 0.7
"""Tracks that correlate by this or more carry the same talk."""


@dataclass(frozen=True, slots=True)
class CallTalk:
    """What both tracks of a recording carry."""

    tracks: tuple[Channel, Channel]
    leakage: tuple[Leakage | None, Leakage | None]
    """Of the first track's sound in the second, and of the second's in the first."""
    length_ms: float
    likeness: float | None

    @property
    def silent(self) -> tuple[bool, bool]:
        """Whether each track has no speech of its own."""
        return not self.tracks[0].stretches, not self.tracks[1].stretches

    @property
    def is_mono(self) -> bool:
        """Whether both tracks carry the same sound."""
        return self.likeness is not None and self.likeness >= SAME_SOUND


def find_talk(call: CallSound) -> CallTalk:
    """Read a call and find the speech of both sides.

    Raises:
        UsageError: a file is damaged.
    """
    scan = scan_call(call)
    channels = [find_speech_by_level(power) for power in scan.power]
    levels = [levels_dbfs(power) for power in scan.power]
    span_s = SPAN_FRAMES * FRAME_MS / 1000
    leaks: list[Leakage | None] = []
    for source in (0, 1):
        other, loud = 1 - source, channels[source].loud_dbfs
        if loud is None or (scan.likeness is not None and scan.likeness >= SAME_SOUND):
            leaks.append(None)
            continue
        spans = [
            read_span(call, first * FRAME_MS / 1000, span_s)
            for first in select_spans(levels[source], levels[other], loud)
        ]
        pairs = [(span[source], span[other]) for span in spans]
        leaks.append(measure_leakage(pairs, levels[source], levels[other], measure_floor(levels[other]), loud))
    for source, leak in enumerate(leaks):
        if leak is not None:
            other = 1 - source
            channels[other] = find_speech_by_level(scan.power[other], mark_leaked(levels[source], levels[other], leak))
    return CallTalk((channels[0], channels[1]), (leaks[0], leaks[1]), scan.length_ms, scan.likeness)
