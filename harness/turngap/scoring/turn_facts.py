"""The facts of one turn that bear on its outcome, from what the call saw; `outcomes` judges them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import CallEnd, CallRecord
from turngap.scenario import Expectation, Turn
from turngap.scoring import outcomes, wer
from turngap.scoring.milestones import Hole, Milestones, find_final_stall
from turngap.scoring.outcomes import TurnFacts
from turngap.scoring.overlap import Overlap


def collect_facts(
    record: CallRecord,
    turn: Turn,
    index: int,
    moments: Milestones,
    overlap: Overlap,
    holes: Sequence[Hole],
    late: Lateness,
    words: wer.WordErrors | None,
    agent_error: str,
) -> TurnFacts:
    """What was found of the call's utterance `index`."""
    reply = moments.reply
    stalled_ms = None
    if reply is not None and record.ended_ns - reply.end_ns > outcomes.MIN_REPLY_MS * NS_PER_MS:
        sound_ms = _ms(reply.end_ns - reply.start_ns)
        stalled_ms = sound_ms if sound_ms < outcomes.MIN_REPLY_MS else None
    onset_ms = None if moments.onset_ns is None else _ms(moments.onset_ns - moments.speech_ns)
    return TurnFacts(
        expectation=turn.agent,
        over_agent=overlap.over_agent,
        call_broke=_broke(record, moments, last=index == len(record.spoken) - 1),
        agent_error=agent_error,
        cut_off_ms=None if moments.cut_off_ns is None else _ms(moments.cut_off_ns),
        in_pause=_in_pause(record, moments, index),
        answered=moments.t1_ns is not None,
        waited_ms=_ms(moments.until_ns - moments.t0_ns),
        intruded_ms=onset_ms if turn.agent is Expectation.WAIT else None,
        spoke_up_ms=onset_ms,
        limit_after_ms=turn.limit_after_ms,
        answer_to_ignored=overlap.answered,
        stop_ms=overlap.stop_ms,
        stale_ms=overlap.stale_ms,
        sentence_gone=overlap.sentence_gone,
        lost_ms=overlap.lost_ms or 0.0,
        repeated_ms=overlap.repeated_ms or 0.0,
        underrun_ms=_ms(sum(hole.end_ns - hole.start_ns for hole in holes)),
        own_underrun_ms=_ms(sum(_stalled_in(record, hole) for hole in holes)),
        stalled_after_ms=stalled_ms,
        missing_last_word=None if words is None else words.missing_last_word,
        wer=None if words is None else words.wer,
        wer_limit=turn.wer_limit,
        send_late_ms=_ms(late.send_ns),
        recv_late_ms=_ms(late.recv_ns),
    )


def find_underruns(record: CallRecord, moments: Milestones, *, probed: bool) -> tuple[Hole, ...]:
    """The reply's underruns; with the stall in which a probe call was hung up on it."""
    if moments.reply is None:
        return ()
    stall = find_final_stall(record, moments.reply) if probed else None
    return (*moments.reply.underruns, *([stall] if stall is not None else []))


def describe_call_end(record: CallRecord) -> str:
    """Who ended the call, and why, in a few words."""
    how = {
        CallEnd.COMPLETED: "the caller hung up",
        CallEnd.AGENT_CLOSED: "the agent closed the call",
        CallEnd.DISCONNECTED: "the connection broke",
        CallEnd.REFUSED: "the agent refused the call",
        CallEnd.INTERRUPTED: "the run was interrupted",
    }[record.end]
    return f"{how} ({record.detail})" if record.detail else how


def _in_pause(record: CallRecord, moments: Milestones, index: int) -> bool:
    """Whether the agent's first sound fell into a pause of the caller's, or began within 600 ms after one."""
    spoken = record.spoken[index]
    return moments.onset_ns is not None and any(
        record.sample_ns(spoken.start_sample + first)
        <= moments.onset_ns
        < record.sample_ns(spoken.start_sample + beyond) + outcomes.AFTER_PAUSE_MS * NS_PER_MS
        for first, beyond in spoken.clip.pauses
    )


def _broke(record: CallRecord, moments: Milestones, *, last: bool) -> str:
    """How the call broke before this turn was done; "" if it did not."""
    if record.end is CallEnd.COMPLETED or not last:
        return ""
    if moments.frame_sent_ns is None:
        return f"the call ended before the caller was done: {describe_call_end(record)}"
    if moments.onset_ns is None:
        return f"no answer: {describe_call_end(record)}" if record.ended_ns <= moments.until_ns else ""
    cleared_ns = max(record.clears_ns, default=0)
    unplayed = sum(len(one.pcm) - one.played_samples for one in record.received if one.recv_ns >= cleared_ns)
    return f"in mid-reply, {unplayed / 8:.0f} ms unplayed: {describe_call_end(record)}" if unplayed else ""


def _stalled_in(record: CallRecord, hole: Hole) -> int:
    """How much of a dry time the loop that reads was away."""
    return sum(
        max(0, min(at_ns, hole.end_ns) - max(at_ns - away_ns, hole.start_ns))
        for at_ns, away_ns in record.stalls.reshape(-1, 2).tolist()
    )


def _ms(ns: int) -> float:
    return ns / NS_PER_MS


@dataclass(frozen=True, slots=True)
class Lateness:
    """The instrument's own worst in a window."""

    send_ns: int
    """A frame's hand-over after its deadline."""
    recv_ns: int
    """Absence of the event loop that reads."""


def measure_lateness(record: CallRecord, from_ns: int, to_ns: int) -> Lateness:
    """The worst send and receive lateness that touches the time from `from_ns` to `to_ns`; 0 where there was none."""
    sent_ns = record.sent_ns
    due_ns = record.frame_due_ns(0) + np.arange(len(sent_ns)) * FRAME_SAMPLES * NS_PER_SAMPLE
    late_ns = (sent_ns - due_ns)[(due_ns <= to_ns) & (sent_ns >= from_ns)]
    at_ns, away_ns = record.stalls.reshape(-1, 2).T
    absences_ns = away_ns[(at_ns >= from_ns) & (at_ns - away_ns <= to_ns)]
    return Lateness(max(0, int(late_ns.max(initial=0))), int(absences_ns.max(initial=0)))
