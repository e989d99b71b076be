"""Hand labels of a recorded call: whose stretches they are, and whether they fit its channels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from turngap.annotations import Annotations
from turngap.annotations import Stretch as LabelledStretch
from turngap.recordings.call_talk import CallTalk
from turngap.recordings.sides import NAMES, Sides, Span, make_stretch, measure_agreement
from turngap.recordings.speech import Stretch

CALLER_NAMES = frozenset({"caller", "customer", "user", "human", "client", "person", "inbound"})
AGENT_NAMES = frozenset({"agent", "assistant", "bot", "ai", "system", "operator", "outbound"})
CLEARLY = 0.15
"""So much better labels fit the sound with the sides swapped, if the sides are swapped."""


@dataclass(frozen=True, slots=True)
class LabelledSpeech:
    """Both speakers' stretches by hand, and the channels that the labels name for them."""

    speech: tuple[tuple[Span, ...], tuple[Span, ...]]
    """Of two speakers: the caller's first, where the labels say who that is."""
    roles_known: bool
    channels: tuple[int | None, int | None]


def read_speakers(labels: Annotations) -> LabelledSpeech | str:
    """Return the two speakers of a label file, or why they can't be told from one another."""
    by_speaker: dict[str, list[LabelledStretch]] = {}
    for stretch in labels.speech:
        # A format without speakers has their names as its labels' texts.
        key = stretch.speaker or (stretch.text.strip() if stretch.channel is None else f"channel {stretch.channel}")
        by_speaker.setdefault(key, []).append(stretch)
    if len(by_speaker) != 2 or "" in by_speaker:
        named = ", ".join(sorted(name[:30] or "(none)" for name in by_speaker)[:4]) or "none"
        return f"the labels are to name two speakers, or two channels; they name {named}"
    names = list(by_speaker)
    roles = [_role(name) for name in names]
    if roles[0] == "agent" or roles[1] == "caller":
        names.reverse()
    known = bool(roles[0] or roles[1]) and roles[0] != roles[1]
    speech = [tuple((each.start_ms, each.end_ms) for each in by_speaker[name]) for name in names]
    channels = [_common_channel(by_speaker[name]) for name in names]
    return LabelledSpeech((speech[0], speech[1]), known, (channels[0], channels[1]))


def choose_labelled_sides(
    labelled: LabelledSpeech, talk: CallTalk, caller: int | None
) -> tuple[Sides, Mapping[int, tuple[Span, ...]]]:
    """Return the sides of a labelled call, and each track's stretches by hand.

    The speakers belong to the tracks on which their speech is found. Labels that name channels, or roles beside the
    option `caller`, and do not fit the sound, say that the sides are swapped: such a call is not scored.
    """
    fit = [
        [measure_agreement(speech, track.stretches, talk.length_ms) for track in talk.tracks]
        for speech in labelled.speech
    ]
    straight, crossed = fit[0][0] + fit[1][1], fit[0][1] + fit[1][0]
    first = 0 if straight >= crossed else 1
    clear = abs(straight - crossed) >= CLEARLY
    tracks = {first: labelled.speech[0], 1 - first: labelled.speech[1]}
    named = labelled.channels[0] if labelled.channels[0] is not None else _other(labelled.channels[1])
    if named is not None and named in (0, 1):
        if named != first and clear:
            text = (
                f"swapped channels: what the labels have on channel {named} is on the {NAMES[first]} one. Not scored: "
                "swap the channels of the recording or of its labels"
            )
            return Sides(first, "labels", text), tracks
        first = named
        tracks = {first: labelled.speech[0], 1 - first: labelled.speech[1]}
    if not labelled.roles_known:
        return Sides(0 if caller is None else caller, "assumed" if caller is None else "option"), tracks
    if caller is not None and caller != first:
        text = (
            f"swapped channels: by its labels the caller is on the {NAMES[first]} channel, not on the {NAMES[caller]} "
            f"one. Not scored: give --caller {NAMES[first]}"
        )
        return Sides(caller, "labels", text), tracks
    return Sides(first, "labels"), tracks


def make_labelled_stretches(speech: Sequence[Span], level_dbfs: float) -> tuple[Stretch, ...]:
    """Return stretches whose ends are known, in order; those that overlap or touch are one."""
    merged: list[Span] = []
    for start_ms, end_ms in sorted(speech):
        if merged and start_ms <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_ms)
        else:
            merged.append((start_ms, end_ms))
    return tuple(replace(make_stretch(start_ms, end_ms), level_dbfs=level_dbfs) for start_ms, end_ms in merged)


def _role(name: str) -> str:
    lowered = name.strip().lower()
    return "caller" if lowered in CALLER_NAMES else "agent" if lowered in AGENT_NAMES else ""


def _common_channel(stretches: Sequence[LabelledStretch]) -> int | None:
    channels = {stretch.channel for stretch in stretches}
    return next(iter(channels)) if len(channels) == 1 else None


def _other(channel: int | None) -> int | None:
    return None if channel is None else 1 - channel
