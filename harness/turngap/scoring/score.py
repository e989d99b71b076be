"""Scoring of a call: what the caller heard and the agent's spans become one `TurnRecord` per turn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turngap_agent import tracing
from turngap_agent.tracing import Span

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
from turngap.model.records import CallEnd, CallRecord, Clip, Spoken
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import Expectation, PlannedCall
from turngap.scenario.content import make_openings
from turngap.scoring import attempts, breakdown, outcomes, overlap, wer
from turngap.scoring.attempts import CallSpans, HeardAttempt
from turngap.scoring.heard_sound import select_speech
from turngap.scoring.landing import measure_landing
from turngap.scoring.mapped import MappedCall, OwnSpans, align_own
from turngap.scoring.mapped import find_heard_attempt as find_mapped_attempt
from turngap.scoring.milestones import Milestones, find_milestones
from turngap.scoring.substance import Substance, find_substance
from turngap.scoring.turn_facts import collect_facts, describe_call_end, find_underruns, measure_lateness
from turngap.spans.remote import describe_offset

AROUND_T0_NS = 500 * NS_PER_MS
"""On both sides of t0: by our lateness there a turn is called again. A call is heard for so long after t0 however soon
its answer came, so that the window of a slow turn is no longer than that of a fast one."""
_NO_STAGES_NOTE = {
    Expectation.WAIT: "nothing was to be answered",
    Expectation.IGNORE: "nothing was to be answered",
    Expectation.LIMIT: "the answer was to come before the end of speech",
}


def score_call(
    record: CallRecord,
    spans: Sequence[Span],
    planned: PlannedCall,
    *,
    network_ms: float,
    cold: bool,
    mapped: MappedCall | None = None,
) -> list[TurnRecord]:
    """Return the turns of one call, in order, one for each planned turn.

    A call that failed has FAILED records for the turns that it never reached, so that n stays as planned. A call that
    was *interrupted* (the run ended, which is no fault of the agent) has records of its finished turns only.

    Args:
        record: What the caller sent and received.
        spans: The agent's spans, in any order; foreign and duplicate spans are dropped, lost ones leave a turn
            without stages.
        planned: The planned call; utterance i of the record is its turn i.
        network_ms: The profile's network model, added to the turn gap as the perceived gap.
        cold: This is the first call since the agent started: its first turn is recorded, marked cold, and not scored.
        mapped: The spans of another framework's agent; `spans` is empty then.
    """
    record = select_speech(record)
    aligned = align_own(record, spans)
    call = attempts.select_call_spans(record, aligned.spans)
    if aligned.note and not aligned.spans:
        call = replace(call, note=aligned.note)
    moments = find_milestones(record)
    moments = find_milestones(record, _answers(call, planned, moments))
    started = list(zip(planned.turns, moments, strict=False))
    if record.end is CallEnd.INTERRUPTED and started and record.ended_ns < record.spoken[-1].reply_deadline_ns:
        started.pop()
    turns = [
        _score(
            record,
            call,
            planned,
            moments,
            index,
            _find_attempt(record, call, aligned, mapped, moments[index]),
            network_ms=network_ms,
            cold=cold and index == 0,
        )
        for index in range(len(started))
    ]
    if record.end is not CallEnd.INTERRUPTED:
        turns += [
            _never_spoken(record, planned, index, cold=cold and index == 0)
            for index in range(len(started), len(planned.turns))
        ]
    first = next((place for place, turn in enumerate(turns) if turn.scored), 0)
    return [
        turn.model_copy(update={"start_delay_ms": record.start_delay_ms}) if place == first else turn
        for place, turn in enumerate(turns)
    ]


def _find_attempt(
    record: CallRecord, call: CallSpans, aligned: OwnSpans, mapped: MappedCall | None, moments: Milestones
) -> HeardAttempt:
    """Return the attempt that was heard, by the agent's own spans or by a mapping."""
    if mapped is not None:
        return find_mapped_attempt(record, mapped, moments)
    heard = attempts.find_heard_attempt(record, call, moments, aligned.within_ns)
    if not aligned.within_ns or heard.activities is None or heard.turn_span is None:
        return heard
    within_ns = aligned.within_ns[heard.turn_span.turn, heard.turn_span.attempt]
    return replace(heard, note="; ".join(filter(None, (heard.note, describe_offset(within_ns)))))


def _answers(call: CallSpans, planned: PlannedCall, moments: Sequence[Milestones]) -> dict[int, int]:
    """Return when the answers were sent of the turns in which other sound is heard too, if the spans contain that.

    Those are barge-ins, and turns in which a reply to an earlier turn is still being sent.
    """
    from_ns_by_turn = {
        index: attempts.first_answer_sent_ns(call, milestones.speech_ns)
        if turn.agent is Expectation.STOP
        else attempts.first_own_answer_sent_ns(call, milestones.speech_ns)
        for index, (turn, milestones) in enumerate(zip(planned.turns, moments, strict=False))
        if turn.agent is Expectation.STOP or (turn.agent is Expectation.RESPOND and index)
    }
    return {index: from_ns for index, from_ns in from_ns_by_turn.items() if from_ns is not None}


def _score(
    record: CallRecord,
    call: CallSpans,
    planned: PlannedCall,
    all_moments: Sequence[Milestones],
    index: int,
    attempt: HeardAttempt,
    *,
    network_ms: float,
    cold: bool,
) -> TurnRecord:
    turn, moments, spoken = planned.turns[index], all_moments[index], record.spoken[index]
    next_speech_ns = all_moments[index + 1].speech_ns if index + 1 < len(all_moments) else record.ended_ns
    over = overlap.measure_overlap(record, call, turn.agent, spoken, moments, next_speech_ns)
    late = measure_lateness(record, *over.window_ns)
    around = measure_lateness(record, moments.t0_ns - AROUND_T0_NS, moments.t0_ns + AROUND_T0_NS)
    answers = turn.agent.needs_answer
    reference = turn.expect if turn.expect is not None else spoken.clip.transcript
    transcript = attempts.text_attribute(attempt.turn_span, tracing.TRANSCRIPT) if answers else None
    words = None if reference is None or transcript is None else wer.word_errors(reference, transcript)
    heard = (
        find_substance(record, call, moments, next_speech_ns, make_openings(planned.contentless))
        if answers
        else Substance(None, "", note=_NO_STAGES_NOTE[turn.agent])
    )
    probed = planned.probe and index == len(planned.turns) - 1
    dry = find_underruns(record, moments, probed=probed, content_ns=heard.claimed_ns) if answers else ()
    only_heard = (
        ""
        if heard.at_ns is not None or not _was_waited_for(planned, index, spoken, next_speech_ns)
        else (heard.contentless if heard.is_known else "")
    )
    fault = (attempts.text_attribute(attempt.turn_span, tracing.ERROR) or "") if not turn.agent.needs_silence else ""
    facts = collect_facts(record, turn, index, moments, over, dry, late, words, fault, only_heard)
    outcome, detail = outcomes.judge_turn(facts)
    reply, t1_ns = (moments.reply, moments.t1_ns) if answers else (None, None)
    gap_ms, substance_ms = _ms_after(moments.t0_ns, t1_ns), _ms_after(moments.t0_ns, heard.at_ns)
    landing = (
        measure_landing(record, call, spoken, moments, next_speech_ns, reference)
        if outcome is Outcome.CUT_OFF
        else None
    )
    stages, path = breakdown.stage_times(attempt.activities, moments.t0_ns, t1_ns, attempt.uncertain_ms)
    started = attempts.attempts_started_between(call, moments.speech_ns, next_speech_ns)
    work = breakdown.measure_work(started, attempt.turn_span if not turn.agent.needs_silence else None)
    return TurnRecord(
        **_leading(record, planned, index, cold=cold),
        outcome=outcome,
        detail=detail,
        synthetic_caller=spoken.clip.synthetic,
        pause_ms=_longest_pause_ms(spoken.clip),
        over_agent=over.over_agent,
        t0_ns=moments.t0_ns,
        t1_ns=t1_ns,
        turn_gap_ms=gap_ms,
        turn_gap_frame_ms=_ms_after(moments.frame_sent_ns, t1_ns),
        perceived_gap_ms=None if gap_ms is None else gap_ms + network_ms,
        first_byte_ms=_ms_after(moments.t0_ns, moments.first_recv_ns) if answers else None,
        stages=stages,
        stages_note=attempt.note if answers else _NO_STAGES_NOTE[turn.agent],
        path=path,
        bars=breakdown.activity_bars(attempt.activities, moments.t0_ns) if answers else (),
        attempt=None if attempt.turn_span is None or not answers else attempt.turn_span.attempt,
        attempts=None if started is None else len(started),
        reference=reference,
        transcript=transcript,
        wer=None if words is None else words.wer,
        word_errors=None if words is None else words.errors,
        words=words.words if words is not None else _count_words(reference) if answers else None,
        reply=attempts.text_attribute(attempt.turn_span, tracing.REPLY) if answers else None,
        first_clause=attempts.text_attribute(attempt.turn_span, tracing.FIRST_CLAUSE_TEXT) if answers else None,
        substance_gap_ms=substance_ms,
        perceived_substance_ms=None if substance_ms is None else substance_ms + network_ms,
        substance_from=heard.source,
        contentless=heard.contentless,
        substance_note=heard.note,
        substance_text=heard.text,
        underruns_at_ms=tuple(to_ms(hole.start_ns - moments.t0_ns) for hole in dry),
        underruns_ms=tuple(to_ms(hole.end_ns - hole.start_ns) for hole in dry),
        barge_in_stop_ms=over.stop_ms,
        stale_ms=over.stale_ms,
        talk_over_ms=over.talk_over_ms,
        went_on_ms=over.went_on_ms,
        lost_ms=over.lost_ms,
        repeated_ms=over.repeated_ms,
        prefix_beyond_tokens=attempts.count_foreign_prefix_tokens(attempt.turn_span),
        compute_ms=work.heard_ms,
        wasted_ms=work.wasted_ms,
        landing=landing if answers else None,
        silence_ms=None if reply is None else to_ms(reply.silence_ns),
        clause_gap_ms=None if reply is None else to_ms(reply.longest_silence_ns),
        reply_ms=None if reply is None else to_ms(reply.end_ns - reply.start_ns),
        lateness_send_ms=to_ms(late.send_ns),
        lateness_recv_ms=to_ms(late.recv_ns),
        lateness_around_t0_ms=to_ms(max(around.send_ns, around.recv_ns)),
        label_low_ms=spoken.clip.label_low_ms,
        label_high_ms=spoken.clip.label_high_ms,
        label_source=spoken.clip.label_source,
    )


def _was_waited_for(planned: PlannedCall, index: int, spoken: Spoken, next_speech_ns: int) -> bool:
    """Return whether the caller gave the agent its time to come to the content."""
    interrupts = index + 1 < len(planned.turns) and planned.turns[index + 1].over_agent_ms is not None
    return next_speech_ns >= spoken.reply_deadline_ns or (planned.waits_for_content and not interrupts)


def _never_spoken(record: CallRecord, planned: PlannedCall, index: int, *, cold: bool) -> TurnRecord:
    """Return a planned turn that the call never reached; its t0 is the call's end."""
    turn = planned.turns[index]
    return TurnRecord(
        **_leading(record, planned, index, cold=cold),
        outcome=Outcome.FAILED,
        detail=f"never spoken: {describe_call_end(record)}",
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
        words=_count_words(turn.expect) if turn.agent.needs_answer else None,
        reply=None,
        first_clause=None,
        lateness_send_ms=0.0,
        lateness_recv_ms=0.0,
        label_low_ms=0.0,
        label_high_ms=0.0,
    )


def _leading(record: CallRecord, planned: PlannedCall, index: int, *, cold: bool) -> dict[str, Any]:
    """Return the fields of a turn that are known before it is spoken."""
    turn, lead_in = planned.turns[index], index < planned.lead_ins
    return {
        "call": record.index,
        "call_sid": record.call_sid,
        "turn": index,
        "utterance_id": turn.key,
        "stratum": turn.stratum,
        "expectation": turn.agent,
        "condition": turn.condition,
        "twin": turn.twin,
        "warm_up": record.warm_up,
        "cold": cold,
        "scored": not (record.warm_up or cold or lead_in),
        "lead_in": lead_in,
        "audible_dbfs": record.audible_dbfs,
        "background_dbfs": record.background_dbfs,
    }


def _count_words(reference: str | None) -> int | None:
    """Return how many words a turn without a transcript has missed; None if it is to have none."""
    return (wer.count_words(reference) or None) if reference is not None else None


def _longest_pause_ms(clip: Clip) -> float:
    return max((to_ms((beyond - first) * NS_PER_SAMPLE) for first, beyond in clip.pauses), default=0.0)


def _ms_after(from_ns: int | None, to_ns: int | None) -> float | None:
    return None if from_ns is None or to_ns is None else to_ms(to_ns - from_ns)
