"""The turns of a recorded call: what its talk says of each, judged as the turns of any call. Pure.

A turn is what the caller says until the agent takes the floor. Its facts are those that a recording has: gaps,
overlaps, yields, silence. `scoring.outcomes` makes the outcome of them, as it does of a simulated call's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from turngap.clock import NS_PER_MS
from turngap.model.recorded import RecordedTurn
from turngap.model.turn import TurnRecord
from turngap.recordings.speech import Stretch
from turngap.recordings.talk import Entry, Side, Spurt, overlap_ms
from turngap.scenario import PAUSE_MS, Expectation
from turngap.scoring.outcomes import TurnFacts, judge_turn

DEAD_AIR_MS = 5000.0
"""A silence of both that is this long ends a turn: the caller was not answered."""
NO_OVERLAP_MS = 120.0
"""Shorter overlaps are heard as none (Heldner, JASA 130, 2011): the agent did not cut in."""
NOTICE_MS = 300.0
"""A caller who starts less than this before the agent's end did not interrupt it."""
RESUMED_MS = 1000.0
NO_STAGES = "from a recording: it has no spans"
NO_WORDS = "from a recording: what its replies say is not known"
CUT_AT_END = "the recording ends before an answer could come"
IN_PAUSE = "in a pause of the agent of less than a second: a backchannel or an answer, the recording does not say which"
CUT_IN_OVERLAP = "the recording ends while both talk"


@dataclass(frozen=True, slots=True)
class _Talk:
    """One turn's talk, before it is judged."""

    spurts: tuple[Spurt, ...]
    answer: Spurt | None
    expectation: Expectation
    over_agent: bool
    intrusions: tuple[Spurt, ...] = ()
    """Of the agent, which spoke over the caller for a second and stopped."""
    until_ms: float = 0.0
    """When the caller spoke again, or the recording ended."""
    unscored: str = ""
    resumed_ms: float | None = None
    """The caller went on so long after the answer had begun."""

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        return tuple(stretch for spurt in self.spurts for stretch in spurt.stretches)


def score_recorded_call(
    spurts: Sequence[Spurt], length_ms: float, *, call: int, name: str, file: str, network_ms: float
) -> list[TurnRecord]:
    """Return the turns of a recording in order; `name` begins their ids, and `network_ms` makes the perceived gap."""
    agent = [stretch for spurt in spurts if spurt.side is Side.AGENT for stretch in spurt.stretches]
    return [
        _score(talk, agent, call=call, index=index, name=name, file=file, network_ms=network_ms)
        for index, talk in enumerate(
            sorted(_collect(spurts, agent, length_ms), key=lambda each: each.spurts[0].start_ms)
        )
    ]


def find_dead_air(spurts: Sequence[Spurt]) -> list[tuple[float, float, Side]]:
    """Return silences of both from 5 s on, between two spurts: from and to in ms, and who had spoken last."""
    silences = []
    last: Spurt | None = None
    for spurt in spurts:
        if last is not None and spurt.start_ms - last.end_ms >= DEAD_AIR_MS:
            silences.append((last.end_ms, spurt.start_ms, last.side))
        if last is None or spurt.end_ms > last.end_ms:
            last = spurt
    return silences


def _collect(spurts: Sequence[Spurt], agent: Sequence[Stretch], length_ms: float) -> list[_Talk]:
    turns: list[_Talk] = []
    current: list[Spurt] = []
    intrusions: list[Spurt] = []

    def close(answer: Spurt | None, until_ms: float) -> None:
        if not current:
            return
        short = answer is None and until_ms - current[-1].end_ms < DEAD_AIR_MS
        turns.append(_make_talk(tuple(current), answer, tuple(intrusions), until_ms, CUT_AT_END if short else ""))
        current.clear()
        intrusions.clear()

    for index, spurt in enumerate(spurts):
        if spurt.side is Side.AGENT:
            if spurt.entry in (Entry.GAP, Entry.YIELD):
                close(spurt, _next_start(spurts[index + 1 :], Side.CALLER, length_ms))
            elif spurt.entry is Entry.HOLD:
                intrusions.append(spurt)
        elif spurt.entry.takes_floor:
            if current and spurt.start_ms - current[-1].end_ms >= DEAD_AIR_MS:
                close(None, spurt.start_ms)
            current.append(spurt)
        else:
            turns.append(_make_aside(spurt, agent, spurts[index + 1 :], length_ms))
    close(None, length_ms)
    return [_note_resumption(talk, spurts) for talk in turns]


def _make_talk(
    spurts: tuple[Spurt, ...], answer: Spurt | None, intrusions: tuple[Spurt, ...], until_ms: float, unscored: str
) -> _Talk:
    first = spurts[0]
    barged = first.entry is Entry.YIELD and (first.other_end_ms or 0.0) - first.start_ms > NOTICE_MS
    expectation = Expectation.STOP if barged else Expectation.RESPOND
    return _Talk(spurts, answer, expectation, barged, intrusions, until_ms, unscored)


def _make_aside(spurt: Spurt, agent: Sequence[Stretch], later: Sequence[Spurt], length_ms: float) -> _Talk:
    """Return talk of the caller that did not take the floor: a backchannel, or an attempt that was talked over."""
    over = overlap_ms(spurt.stretches, agent) > 0
    expectation = Expectation.IGNORE if spurt.entry is Entry.BACKCHANNEL else Expectation.STOP
    unscored = CUT_IN_OVERLAP if spurt.entry is Entry.UNDECIDED else "" if over else IN_PAUSE
    until_ms = _next_start(later, Side.CALLER, length_ms)
    return _Talk((spurt,), None, expectation, over, until_ms=until_ms, unscored=unscored)


def _note_resumption(talk: _Talk, spurts: Sequence[Spurt]) -> _Talk:
    if talk.answer is None:
        return talk
    begun_ms = talk.answer.start_ms
    again = next((spurt for spurt in spurts if spurt.side is Side.CALLER and spurt.start_ms >= begun_ms), None)
    if again is None or not again.entry.is_overlap or again.start_ms - begun_ms > RESUMED_MS:
        return talk
    return _Talk(
        talk.spurts,
        talk.answer,
        talk.expectation,
        talk.over_agent,
        talk.intrusions,
        talk.until_ms,
        talk.unscored,
        again.start_ms - begun_ms,
    )


def _score(
    talk: _Talk, agent: Sequence[Stretch], *, call: int, index: int, name: str, file: str, network_ms: float
) -> TurnRecord:
    first, end = talk.spurts[0], talk.stretches[-1].end
    answer = None if talk.answer is None else talk.answer.stretches[0].start
    gap_ms = None if answer is None else answer.at_ms - end.at_ms
    cut_off_ms = _cut_off_ms(talk, gap_ms)
    answered = gap_ms is not None and cut_off_ms is None
    shown_ms = max(0.0, gap_ms) if answered and gap_ms is not None else None
    stop_ms = (first.other_end_ms or 0.0) - first.start_ms if talk.over_agent else None
    ignored = talk.expectation is Expectation.IGNORE
    facts = _make_facts(talk, cut_off_ms, answered, stop_ms)
    outcome, detail = judge_turn(facts)
    reply = talk.answer if answered else None
    return TurnRecord(
        call=call,
        call_sid=file,
        turn=index,
        utterance_id=f"{name}-{index + 1:02d}",
        stratum="recorded",
        expectation=talk.expectation,
        pause_ms=max((ms for ms in _pauses_ms(talk.stretches) if ms >= PAUSE_MS), default=0.0),
        over_agent=talk.over_agent,
        warm_up=False,
        cold=False,
        scored=not talk.unscored,
        outcome=outcome,
        detail=talk.unscored or detail,
        synthetic_caller=False,
        t0_ns=round(end.at_ms * NS_PER_MS),
        t1_ns=round(answer.at_ms * NS_PER_MS) if answer is not None and answered else None,
        turn_gap_ms=shown_ms,
        turn_gap_frame_ms=None,
        perceived_gap_ms=None if shown_ms is None else shown_ms + network_ms,
        first_byte_ms=None,
        stages=None,
        stages_note=NO_STAGES,
        reference=None,
        transcript=None,
        wer=None,
        word_errors=None,
        words=None,
        reply=None,
        first_clause=None,
        barge_in_stop_ms=stop_ms if talk.expectation is Expectation.STOP else None,
        talk_over_ms=None if ignored else overlap_ms(talk.stretches, agent),
        went_on_ms=_went_on_ms(end.at_ms, agent) if ignored and talk.over_agent else None,
        substance_note="" if ignored else NO_WORDS,
        silence_ms=None if reply is None else sum(ms for ms in _pauses_ms(reply.stretches) if ms > PAUSE_MS),
        clause_gap_ms=None if reply is None else max(_pauses_ms(reply.stretches), default=0.0),
        reply_ms=None if reply is None else reply.length_ms,
        lateness_send_ms=0.0,
        lateness_recv_ms=0.0,
        label_low_ms=end.latest_ms - end.at_ms,
        label_high_ms=end.earliest_ms - end.at_ms,
        recorded=RecordedTurn(
            file=file,
            start_s=_seconds(first.start_ms),
            end_s=_seconds(end.at_ms),
            answer_s=None if answer is None else _seconds(answer.at_ms),
            gap_low_ms=max(0.0, answer.earliest_ms - end.latest_ms) if answered and answer is not None else None,
            gap_high_ms=max(0.0, answer.latest_ms - end.earliest_ms) if answered and answer is not None else None,
            remark=_describe_resumption(talk.resumed_ms),
        ),
    )


def _make_facts(talk: _Talk, cut_off_ms: float | None, answered: bool, stop_ms: float | None) -> TurnFacts:
    waited_ms = talk.until_ms - talk.spurts[-1].end_ms
    return TurnFacts(
        expectation=talk.expectation,
        over_agent=talk.over_agent,
        call_broke="",
        agent_error="",
        cut_off_ms=cut_off_ms,
        in_pause=False,
        answered=answered,
        only_heard="",
        listened_ms=waited_ms,
        waited_ms=waited_ms,
        talked_through=False,
        intruded_ms=None,
        spoke_up_ms=None,
        limit_after_ms=0.0,
        answer_to_ignored=False,
        stop_ms=stop_ms if talk.expectation is Expectation.STOP else None,
        stale_ms=None,
        sentence_gone=False,
        lost_ms=0.0,
        repeated_ms=0.0,
        underrun_ms=0.0,
        own_underrun_ms=0.0,
        stalled_after_ms=None,
        missing_last_word=None,
        wer=None,
        wer_limit=1.0,
        send_late_ms=0.0,
        recv_late_ms=0.0,
    )


def _cut_off_ms(talk: _Talk, gap_ms: float | None) -> float | None:
    """Return how long before the caller's end the agent spoke over it; None if it did not, or by less than is heard."""
    end = talk.stretches[-1].end
    starts = [spurt.start_ms for spurt in talk.intrusions]
    overlaps = gap_ms is not None and gap_ms < -NO_OVERLAP_MS
    if overlaps and talk.answer is not None and talk.answer.stretches[0].start.latest_ms < end.earliest_ms:
        starts.append(talk.answer.start_ms)
    return end.at_ms - min(starts) if starts else None


def _went_on_ms(end_ms: float, agent: Sequence[Stretch]) -> float | None:
    """Return how long after a backchannel's end the agent was audible; 0 if it was then, None if never again."""
    if any(stretch.start.at_ms <= end_ms < stretch.end.at_ms for stretch in agent):
        return 0.0
    return next((stretch.start.at_ms - end_ms for stretch in agent if stretch.start.at_ms >= end_ms), None)


def _pauses_ms(stretches: Sequence[Stretch]) -> list[float]:
    return [after.start.at_ms - before.end.at_ms for before, after in pairwise(stretches)]


def _next_start(later: Sequence[Spurt], side: Side, length_ms: float) -> float:
    return next((spurt.start_ms for spurt in later if spurt.side is side), length_ms)


def _describe_resumption(resumed_ms: float | None) -> str:
    if resumed_ms is None:
        return ""
    return f"the caller spoke again {resumed_ms:.0f} ms into the answer: an interruption, or the agent had cut in"


def _seconds(ms: float) -> float:
    return round(ms / 1000, 4)
