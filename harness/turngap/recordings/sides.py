"""Which track is the caller's, and whether that can be believed. Pure.

Nothing in two channels of sound says for certain who is the caller: the agent mostly greets, but a called person speaks
first too. So what only suggests that the sides are swapped is asked, and such a call is not scored until an option
answers; labels that contradict the sound are certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turngap.recordings.call_talk import CallTalk
from turngap.recordings.power import FRAME_MS
from turngap.recordings.speech import Bools, Edge, Stretch

Span = tuple[float, float]
"""From and to, in ms."""
NAMES = ("left", "right")
GREETS = "the agent mostly greets"


@dataclass(frozen=True, slots=True)
class Sides:
    """The caller's track, and what is to be said of it."""

    caller: int
    """0 or 1."""
    source: str
    """`option`, `labels`, `files`, or `assumed`."""
    refused: str = ""
    """Why the call is not scored; "" if it is."""
    remarks: tuple[str, ...] = ()


def choose_sides(talk: CallTalk, caller: int | None, *, is_pair: bool) -> Sides:
    """Return the sides of a call without labels; `caller` is the track that the user says is the caller's."""
    source = "files" if is_pair else "assumed" if caller is None else "option"
    track = 0 if caller is None else caller
    if talk.is_mono:
        return Sides(track, source, _describe_mono(talk))
    names = ("the caller's file", "the agent's file") if is_pair else ("the left channel", "the right channel")
    silent = [names[at] for at in (0, 1) if talk.silent[at]]
    if silent:
        where = " and ".join(silent)
        return Sides(track, source, f"no speech on {where}: one side alone has no turns, so it is not scored")
    first = min((0, 1), key=lambda at: talk.tracks[at].stretches[0].start.at_ms)
    if first != track:
        return Sides(track, source)
    if source == "assumed":
        question = (
            f"are the channels swapped? The {NAMES[track]} one, taken for the caller's, speaks first, and {GREETS}. "
            f"Not scored until you say which is the caller's: --caller {NAMES[track]} or --caller {NAMES[1 - track]}"
        )
        return Sides(track, source, question)
    return Sides(track, source, remarks=(f"the caller speaks first, and {GREETS}: are the sides swapped?",))


def measure_agreement(labelled: Sequence[Span], found: Sequence[Stretch], length_ms: float) -> float:
    """Return how well labelled speech fits what was found: the time that both have over the time that either has."""
    ours = [(stretch.start.at_ms, stretch.end.at_ms) for stretch in found]
    one, other = _mark(labelled, length_ms), _mark(ours, length_ms)
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 0.0


def _mark(spans: Sequence[Span], length_ms: float) -> Bools:
    """Return which 10 ms frames are inside a span."""
    marks = np.zeros(round(length_ms / FRAME_MS) + 1, bool)
    for start_ms, end_ms in spans:
        marks[max(0, round(start_ms / FRAME_MS)) : max(0, round(end_ms / FRAME_MS))] = True
    return marks


def make_stretch(start_ms: float, end_ms: float) -> Stretch:
    """Return a stretch whose ends are known."""
    return Stretch(Edge(start_ms, start_ms, start_ms), Edge(end_ms, end_ms, end_ms), 0.0)


def _describe_mono(talk: CallTalk) -> str:
    same = f"likeness {talk.likeness:.2f}" if talk.likeness is not None else "alike"
    return f"mono: both channels carry the same sound ({same}), so who speaks when is not known, and it is not scored"
