"""A call, scored: what the caller heard and what the agent's spans say become one `TurnRecord` a turn. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.clock import NS_PER_MS
from harness.records import CallEnd, CallRecord
from harness.scenario import PlannedCall, Turn
from harness.scoring import breakdown, heard, outcomes, wer
from harness.scoring.heard import CallSpans
from harness.scoring.milestones import Hole, Lateness, Milestones, dry_at_hang_up, lateness, milestones
from harness.scoring.outcomes import Findings
from harness.turn import Outcome, TurnRecord
from pipeline import tracing
from pipeline.tracing import Span


def score_call(
    record: CallRecord, spans: Sequence[Span], planned: PlannedCall, *, network_ms: float, cold: bool
) -> list[TurnRecord]:
    """The turns of one call, in order, one for each that was planned.

    A call that broke has FAILED records for the turns it never reached, so that n stays what was planned. A call that
    was *interrupted* (the run ended, no fault of the agent) has records of its finished turns only.

    Args:
        record: What the caller did and heard.
        spans: What the agent reported, in any order; foreign and double spans are dropped, lost ones leave a turn
            without stages.
        planned: What was to be said; utterance i of the record is its turn i.
        network_ms: The profile's network model, added to the turn gap as the perceived gap.
        cold: This is the first call since the agent started: its first turn is kept, marked cold, and not scored.
    """
    call = heard.of_call(record, spans)
    moments = milestones(record)
    begun = list(zip(planned.turns, moments, strict=False))
    if record.end is CallEnd.INTERRUPTED and begun and record.ended_ns < record.spoken[-1].reply_deadline_ns:
        begun.pop()
    turns = [
        _score(record, call, planned, moments, index, network_ms=network_ms, cold=cold and index == 0)
        for index in range(len(begun))
    ]
    if record.end is not CallEnd.INTERRUPTED:
        turns += [
            _never_spoken(record, planned.turns[index], index, cold=cold and index == 0)
            for index in range(len(begun), len(planned.turns))
        ]
    return turns


def _score(
    record: CallRecord,
    call: CallSpans,
    planned: PlannedCall,
    all_moments: Sequence[Milestones],
    index: int,
    *,
    network_ms: float,
    cold: bool,
) -> TurnRecord:
    turn, moments, spoken = planned.turns[index], all_moments[index], record.spoken[index]
    next_speech_ns = all_moments[index + 1].speech_ns if index + 1 < len(all_moments) else record.ended_ns
    attempt = heard.heard_attempt(record, call, moments)
    late = lateness(record, *moments.window_ns)
    reference = turn.expect if turn.expect is not None else spoken.clip.transcript
    transcript = heard.text(attempt.turn_span, tracing.TRANSCRIPT)
    words = None if reference is None or transcript is None else wer.word_errors(reference, transcript)
    holes = _holes(record, moments, probed=planned.probe and index == len(planned.turns) - 1)
    outcome, detail = outcomes.judge(_findings(record, moments, index, holes, late, words, turn.wer_limit))
    reply = moments.reply
    gap_ms = _ms_after(moments.t0_ns, moments.t1_ns)
    stages, path = breakdown.stages(attempt.activities, moments.t0_ns, moments.t1_ns)
    return TurnRecord(
        call=record.index,
        call_sid=record.call_sid,
        turn=index,
        utterance_id=turn.key,
        stratum=turn.stratum,
        warm_up=record.warm_up,
        cold=cold,
        scored=not (record.warm_up or cold),
        outcome=outcome,
        detail=detail,
        synthetic_caller=spoken.clip.synthetic,
        t0_ns=moments.t0_ns,
        t1_ns=moments.t1_ns,
        turn_gap_ms=gap_ms,
        turn_gap_frame_ms=_ms_after(moments.frame_sent_ns, moments.t1_ns),
        perceived_gap_ms=None if gap_ms is None else gap_ms + network_ms,
        first_byte_ms=_ms_after(moments.t0_ns, moments.first_recv_ns),
        stages=stages,
        stages_note=attempt.note,
        path=path,
        bars=breakdown.bars(attempt.activities, moments.t0_ns),
        attempt=None if attempt.turn_span is None else attempt.turn_span.attempt,
        attempts=heard.attempts_between(call, moments.speech_ns, next_speech_ns),
        reference=reference,
        transcript=transcript,
        wer=None if words is None else words.wer,
        word_errors=None if words is None else words.errors,
        words=None if words is None else words.words,
        reply=heard.text(attempt.turn_span, tracing.REPLY),
        first_clause=heard.text(attempt.turn_span, tracing.FIRST_CLAUSE_TEXT),
        underruns_ms=tuple(_ms(hole.end_ns - hole.start_ns) for hole in holes),
        silence_ms=None if reply is None else _ms(reply.silence_ns),
        reply_ms=None if reply is None else _ms(reply.end_ns - reply.start_ns),
        lateness_send_ms=_ms(late.send_ns),
        lateness_recv_ms=_ms(late.recv_ns),
        label_low_ms=spoken.clip.label_low_ms,
        label_high_ms=spoken.clip.label_high_ms,
    )


def _never_spoken(record: CallRecord, turn: Turn, index: int, *, cold: bool) -> TurnRecord:
    """A planned turn that the call never reached; its t0 stands at the call's end."""
    return TurnRecord(
        call=record.index,
        call_sid=record.call_sid,
        turn=index,
        utterance_id=turn.key,
        stratum=turn.stratum,
        warm_up=record.warm_up,
        cold=cold,
        scored=not (record.warm_up or cold),
        outcome=Outcome.FAILED,
        detail=f"never spoken: {_how_it_ended(record)}",
        synthetic_caller=turn.say is not None,
        t0_ns=record.ended_ns,
        t1_ns=None,
        turn_gap_ms=None,
        turn_gap_frame_ms=None,
        perceived_gap_ms=None,
        first_byte_ms=None,
        stages=None,
        stages_note="the turn was never spoken",
        reference=turn.expect,
        transcript=None,
        wer=None,
        word_errors=None,
        words=None,
        reply=None,
        first_clause=None,
        lateness_send_ms=0.0,
        lateness_recv_ms=0.0,
        label_low_ms=0.0,
        label_high_ms=0.0,
    )


def _findings(
    record: CallRecord,
    moments: Milestones,
    index: int,
    holes: Sequence[Hole],
    late: Lateness,
    words: wer.WordErrors | None,
    wer_limit: float,
) -> Findings:
    reply = moments.reply
    stalled_ms = None
    if reply is not None and record.ended_ns - reply.end_ns > outcomes.MIN_REPLY_MS * NS_PER_MS:
        sound_ms = _ms(reply.end_ns - reply.start_ns)
        stalled_ms = sound_ms if sound_ms < outcomes.MIN_REPLY_MS else None
    return Findings(
        call_broke=_broke(record, moments, last=index == len(record.spoken) - 1),
        cut_off_ms=None if moments.cut_off_ns is None else _ms(moments.cut_off_ns),
        answered=moments.t1_ns is not None,
        waited_ms=_ms(moments.until_ns - moments.t0_ns),
        underrun_ms=_ms(sum(hole.end_ns - hole.start_ns for hole in holes)),
        own_underrun_ms=_ms(sum(_stalled_in(record, hole) for hole in holes)),
        stalled_after_ms=stalled_ms,
        missing_last_word=None if words is None else words.missing_last_word,
        wer=None if words is None else words.wer,
        wer_limit=wer_limit,
        send_late_ms=_ms(late.send_ns),
        recv_late_ms=_ms(late.recv_ns),
    )


def _holes(record: CallRecord, moments: Milestones, *, probed: bool) -> tuple[Hole, ...]:
    """The reply's underruns; with the stall in which a probe call was hung up on it."""
    if moments.reply is None:
        return ()
    stall = dry_at_hang_up(record, moments.reply) if probed else None
    return (*moments.reply.underruns, *([stall] if stall is not None else []))


def _broke(record: CallRecord, moments: Milestones, *, last: bool) -> str:
    """How the call broke before this turn was done; "" if it did not."""
    if record.end is CallEnd.COMPLETED or not last:
        return ""
    if moments.frame_sent_ns is None:
        return f"the call ended before the caller was done: {_how_it_ended(record)}"
    if moments.onset_ns is None:
        return f"no answer: {_how_it_ended(record)}" if record.ended_ns <= moments.until_ns else ""
    cleared_ns = max(record.clears_ns, default=0)
    unplayed = sum(len(one.pcm) - one.played_samples for one in record.received if one.recv_ns >= cleared_ns)
    return f"in mid-reply, {unplayed / 8:.0f} ms unplayed: {_how_it_ended(record)}" if unplayed else ""


def _how_it_ended(record: CallRecord) -> str:
    how = {
        CallEnd.COMPLETED: "the caller hung up",
        CallEnd.AGENT_CLOSED: "the agent closed the call",
        CallEnd.REFUSED: "the agent refused the call",
        CallEnd.INTERRUPTED: "the run was interrupted",
        CallEnd.DISCONNECTED: "the connection broke",
    }[record.end]
    return f"{how} ({record.detail})" if record.detail else how


def _stalled_in(record: CallRecord, hole: Hole) -> int:
    """How much of a dry time the loop that reads was away."""
    return sum(
        max(0, min(at_ns, hole.end_ns) - max(at_ns - away_ns, hole.start_ns))
        for at_ns, away_ns in record.stalls.reshape(-1, 2).tolist()
    )


def _ms_after(from_ns: int | None, to_ns: int | None) -> float | None:
    return None if from_ns is None or to_ns is None else _ms(to_ns - from_ns)


def _ms(ns: int) -> float:
    return ns / NS_PER_MS
