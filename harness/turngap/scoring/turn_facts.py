"""The facts of one turn that decide its outcome, from the call's record; `outcomes` judges them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
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
    late: TurnLateness,
    words: wer.TurnWordErrors | None,
    agent_error: str,
    only_heard: str = "",
) -> TurnFacts:
    """Return the facts about the call's utterance `index`; `only_heard` is all that was heard, if it had no content."""
    reply = moments.reply
    stalled_ms = None
    if reply is not None and record.ended_ns - reply.end_ns > outcomes.MIN_REPLY_MS * NS_PER_MS:
        sound_ms = to_ms(reply.end_ns - reply.start_ns)
        stalled_ms = sound_ms if sound_ms < outcomes.MIN_REPLY_MS else None
    onset_ms = None if moments.onset_ns is None else to_ms(moments.onset_ns - moments.speech_ns)
    return TurnFacts(
        expectation=turn.agent,
        over_agent=overlap.over_agent,
        call_broke=_describe_break(record, moments, last=index == len(record.spoken) - 1),
        agent_error=agent_error,
        cut_off_ms=None if moments.cut_off_ns is None else to_ms(moments.cut_off_ns),
        in_pause=_in_pause(record, moments, index),
        answered=moments.t1_ns is not None,
        only_heard=only_heard,
        listened_ms=to_ms(_next_speech_ns(record, index) - moments.t0_ns),
        waited_ms=to_ms(moments.until_ns - moments.t0_ns),
        talked_through=moments.talked_through and not overlap.over_agent,
        intruded_ms=onset_ms if turn.agent is Expectation.WAIT else None,
        spoke_up_ms=onset_ms,
        limit_after_ms=turn.limit_after_ms,
        answer_to_ignored=overlap.answered,
        stop_ms=overlap.stop_ms,
        stale_ms=overlap.stale_ms,
        sentence_gone=overlap.sentence_gone,
        lost_ms=overlap.lost_ms or 0.0,
        repeated_ms=overlap.repeated_ms or 0.0,
        underrun_ms=to_ms(sum(hole.end_ns - hole.start_ns for hole in holes)),
        own_underrun_ms=to_ms(sum(_stalled_in(record, hole) for hole in holes)),
        stalled_after_ms=stalled_ms,
        missing_last_word=None if words is None else words.missing_last_word,
        wer=None if words is None else words.wer,
        wer_limit=turn.wer_limit,
        send_late_ms=to_ms(late.send_ns),
        recv_late_ms=to_ms(late.recv_ns),
    )


def find_underruns(
    record: CallRecord, moments: Milestones, *, probed: bool, content_ns: int | None = None
) -> tuple[Hole, ...]:
    """Return the reply's underruns, including a stall during which a probe call was hung up.

    Those before its content, at `content_ns`, are none of the reply's: they are part of the time to substance.
    """
    if moments.reply is None:
        return ()
    stall = find_final_stall(record, moments.reply) if probed else None
    holes = (*moments.reply.underruns, *([stall] if stall is not None else []))
    return tuple(hole for hole in holes if content_ns is None or hole.end_ns > content_ns)


def _next_speech_ns(record: CallRecord, index: int) -> int:
    """Return when the caller spoke again, or hung up."""
    if index + 1 == len(record.spoken):
        return record.ended_ns
    next_ = record.spoken[index + 1]
    return record.sample_ns(next_.start_sample + next_.clip.speech_start_sample)


def describe_call_end(record: CallRecord) -> str:
    """Return who ended the call, and why, in a few words."""
    how = {
        CallEnd.COMPLETED: "the caller hung up",
        CallEnd.AGENT_CLOSED: "the agent closed the call",
        CallEnd.DISCONNECTED: "the connection broke",
        CallEnd.REFUSED: "the agent refused the call",
        CallEnd.INTERRUPTED: "the run was interrupted",
        CallEnd.FLOODED: "the agent sent too much",
    }[record.end]
    if record.end in (CallEnd.AGENT_CLOSED, CallEnd.FLOODED) and record.detail:
        return record.detail  # a sentence that says who ended it
    return f"{how} ({record.detail})" if record.detail else how


def _in_pause(record: CallRecord, moments: Milestones, index: int) -> bool:
    """Return whether the agent's first sound was in a pause of the caller, or started within 600 ms after one."""
    spoken = record.spoken[index]
    return moments.onset_ns is not None and any(
        record.sample_ns(spoken.start_sample + first)
        <= moments.onset_ns
        < record.sample_ns(spoken.start_sample + beyond) + outcomes.AFTER_PAUSE_MS * NS_PER_MS
        for first, beyond in spoken.clip.pauses
    )


def _describe_break(record: CallRecord, moments: Milestones, *, last: bool) -> str:
    """Return how the call failed before this turn was finished; "" if it did not."""
    if record.end is CallEnd.COMPLETED or not last:
        return ""
    if moments.frame_sent_ns is None:
        return f"the call ended before the caller had finished: {describe_call_end(record)}"
    if moments.onset_ns is None:
        return f"no answer: {describe_call_end(record)}" if record.ended_ns <= moments.until_ns else ""
    cleared_ns = max(record.clears_ns, default=0)
    unplayed = sum(
        len(message.pcm) - message.played_samples for message in record.received if message.recv_ns >= cleared_ns
    )
    return f"in mid-reply, {unplayed / 8:.0f} ms unplayed: {describe_call_end(record)}" if unplayed else ""


def _stalled_in(record: CallRecord, hole: Hole) -> int:
    """Return for how much of an underrun the reading loop was stalled, ns."""
    return sum(
        max(0, min(at_ns, hole.end_ns) - max(at_ns - away_ns, hole.start_ns))
        for at_ns, away_ns in record.stalls.reshape(-1, 2).tolist()
    )


@dataclass(frozen=True, slots=True)
class TurnLateness:
    """The instrument's own largest lateness in a window."""

    send_ns: int
    """How late a frame was handed over."""
    recv_ns: int
    """How long the reading event loop was stalled."""


def measure_lateness(record: CallRecord, from_ns: int, to_ns: int) -> TurnLateness:
    """Return the largest send and receive lateness between `from_ns` and `to_ns`; 0 if there was none."""
    sent_ns = record.sent_ns
    due_ns = record.frame_due_ns(0) + np.arange(len(sent_ns)) * FRAME_SAMPLES * NS_PER_SAMPLE
    late_ns = (sent_ns - due_ns)[(due_ns <= to_ns) & (sent_ns >= from_ns)]
    at_ns, away_ns = record.stalls.reshape(-1, 2).T
    absences_ns = away_ns[(at_ns >= from_ns) & (at_ns - away_ns <= to_ns)]
    return TurnLateness(max(0, int(late_ns.max(initial=0))), int(absences_ns.max(initial=0)))
