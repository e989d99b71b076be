"""One recording from its talk to its turns: sides, cross-talk, dead air, and why one is not scored. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turngap.annotations import Annotations
from turngap.model.recorded import CrossTalk, DeadAir, RecordedCall, Stretches, TalkEntry
from turngap.model.turn import TurnRecord
from turngap.recordings.call_talk import CallTalk
from turngap.recordings.labelled import choose_labelled_sides, make_labelled_stretches, read_speakers
from turngap.recordings.sides import NAMES, Sides, choose_sides
from turngap.recordings.sound import CallSound
from turngap.recordings.speech import Stretch
from turngap.recordings.talk import Entry, Side, Spurt, follow_floor, overlap_ms
from turngap.recordings.turns import find_dead_air, score_recorded_call

FROM_START_MS = 100.0
"""Speech that is there so soon began before the recording."""


@dataclass(frozen=True, slots=True)
class MeasuredCall:
    """A recording with its turns; without any if it is not scored."""

    record: RecordedCall
    turns: tuple[TurnRecord, ...]
    sides: Sides


def measure_call(
    sound: CallSound,
    talk: CallTalk,
    *,
    call: int,
    name: str,
    caller: int | None,
    labels: Annotations | None,
    network_ms: float,
) -> MeasuredCall:
    """Return what a recording's talk amounts to.

    Args:
        sound: The recording.
        talk: The speech on its tracks.
        call: Its number in the run, from 0.
        name: What its turns' ids begin with.
        caller: The caller's track, 0 or 1, if the user says so.
        labels: Hand labels of both speakers; their ends replace those that are found.
        network_ms: What is added to the turn gap as the perceived gap.
    """
    sides = choose_sides(talk, caller, is_pair=sound.is_pair)
    tracks = [talk.tracks[0].stretches, talk.tracks[1].stretches]
    by_hand = False
    if labels is not None and not talk.is_mono:
        labelled = read_speakers(labels)
        if isinstance(labelled, str):
            return _refuse(sound, talk, call, Sides(sides.caller, sides.source, f"{labelled}, so it is not scored"))
        sides, spans = choose_labelled_sides(labelled, talk, caller)
        tracks = [make_labelled_stretches(spans[at], talk.tracks[at].loud_dbfs or 0.0) for at in (0, 1)]
        by_hand = True
    if sides.refused:
        return _refuse(sound, talk, call, sides)
    own, agents = tracks[sides.caller], tracks[1 - sides.caller]
    spurts = follow_floor(own, agents, talk.length_ms)
    turns = score_recorded_call(spurts, talk.length_ms, call=call, name=name, file=sound.name, network_ms=network_ms)
    record = _describe(sound, talk, call, sides).model_copy(
        update={
            "scored": True,
            "ends_from": "labels" if by_hand else "found",
            "greeted_by": _greeted_by(spurts),
            "agent_first_s": min((s.start_ms / 1000 for s in spurts if s.side is Side.AGENT), default=None),
            "dead_air": tuple(
                DeadAir(from_s=round(from_ms / 1000, 3), length_s=round((to_ms - from_ms) / 1000, 3), after=side.value)
                for from_ms, to_ms, side in find_dead_air(spurts)
            ),
            "talk_over_s": round(overlap_ms(own, agents) / 1000, 3),
            **_count_entries(spurts),
            "turns": sum(turn.scored for turn in turns),
            "talk": tuple(_make_entry(spurt) for spurt in spurts),
            "speech": Stretches(caller=_seconds(own), agent=_seconds(agents)),
            "remarks": (*sides.remarks, *_remark_on_resumptions(turns)),
        }
    )
    return MeasuredCall(record, tuple(turns), sides)


def median_uncertainty_ms(turns: tuple[TurnRecord, ...]) -> float | None:
    """Return the median of half of what lies between each gap at its shortest and at its longest."""
    halves = [
        (turn.recorded.gap_high_ms - turn.recorded.gap_low_ms) / 2
        for turn in turns
        if turn.scored
        and turn.recorded is not None
        and turn.recorded.gap_low_ms is not None
        and turn.recorded.gap_high_ms is not None
    ]
    return float(np.median(halves)) if halves else None


def _refuse(sound: CallSound, talk: CallTalk, call: int, sides: Sides) -> MeasuredCall:
    record = _describe(sound, talk, call, sides).model_copy(update={"remarks": (sides.refused, *sides.remarks)})
    return MeasuredCall(record, (), sides)


def _describe(sound: CallSound, talk: CallTalk, call: int, sides: Sides) -> RecordedCall:
    caller = sides.caller
    names = {caller: Side.CALLER, 1 - caller: Side.AGENT}
    return RecordedCall(
        call=call,
        file=sound.name,
        format=sound.format,
        rate_hz=sound.rates[0],
        length_s=round(talk.length_ms / 1000, 3),
        caller_on=sound.first.path.name if sound.is_pair else NAMES[caller],
        side_from=sides.source,
        ends_from="found",
        scored=False,
        caller_floor_dbfs=round(talk.tracks[caller].floor_dbfs, 1),
        agent_floor_dbfs=round(talk.tracks[1 - caller].floor_dbfs, 1),
        cross_talk=tuple(
            CrossTalk(
                heard_on=names[1 - source].value,
                attenuation_db=round(leak.attenuation_db, 1),
                delay_ms=round(leak.delay_ms, 2),
            )
            for source, leak in enumerate(talk.leakage)
            if leak is not None
        ),
    )


def _greeted_by(spurts: tuple[Spurt, ...]) -> str:
    return spurts[0].side.value if spurts and spurts[0].start_ms >= FROM_START_MS else ""


def _count_entries(spurts: tuple[Spurt, ...]) -> dict[str, int]:
    """Return how often each side, while it talked, yielded to the other and held, and its backchannels."""
    counts: dict[str, int] = {}
    for side in Side:
        against = [spurt.entry for spurt in spurts if spurt.side is side.other]
        counts[f"{side}_yields"] = against.count(Entry.YIELD)
        counts[f"{side}_holds"] = against.count(Entry.HOLD) + against.count(Entry.BACKCHANNEL)
        counts[f"{side}_backchannels"] = sum(s.entry is Entry.BACKCHANNEL for s in spurts if s.side is side)
    return counts


def _make_entry(spurt: Spurt) -> TalkEntry:
    yields = spurt.entry is Entry.YIELD if spurt.entry.is_overlap and spurt.entry is not Entry.UNDECIDED else None
    return TalkEntry(
        side=spurt.side.value,
        start_s=round(spurt.start_ms / 1000, 4),
        end_s=round(spurt.end_ms / 1000, 4),
        kind=spurt.entry.value,
        gap_ms=None if spurt.other_end_ms is None else round(spurt.start_ms - spurt.other_end_ms, 2),
        holder_yields=yields,
    )


def _remark_on_resumptions(turns: list[TurnRecord]) -> tuple[str, ...]:
    resumed = sum(bool(turn.recorded and turn.recorded.remark) for turn in turns)
    if not resumed:
        return ()
    times = "once" if resumed == 1 else f"{resumed} times"
    return (f"{times} the caller spoke again just after an answer began: an interruption, or the agent had cut in",)


def _seconds(stretches: tuple[Stretch, ...]) -> tuple[tuple[float, float], ...]:
    return tuple((round(each.start.at_ms / 1000, 4), round(each.end.at_ms / 1000, 4)) for each in stretches)
