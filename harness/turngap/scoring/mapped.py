"""The heard attempt of a turn from another framework's spans, by a mapping; and of our agent on another host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap_agent import tracing
from turngap_agent.tracing import Activity, Span, Stage

from turngap.clock import to_ms
from turngap.model.records import CallRecord
from turngap.model.span_mapping import SpanMapping
from turngap.scoring.attempts import HeardAttempt
from turngap.scoring.critical_path import Interval
from turngap.scoring.milestones import Milestones
from turngap.spans import foreign, remote
from turngap.spans.foreign import ForeignSpan

NO_MAPPED_SPANS = "the agent sent no spans for this turn"


@dataclass(frozen=True, slots=True)
class MappedCall:
    """The spans of a call to another framework's agent, as received, and what they mean."""

    mapping: SpanMapping
    spans: tuple[ForeignSpan, ...]
    same_host: bool
    """Whether its wall clock is this host's; else it is aligned."""


def find_heard_attempt(record: CallRecord, call: MappedCall, moments: Milestones) -> HeardAttempt:
    """Return what the spans say about the attempt whose sound was the turn's onset."""
    if moments.onset_message is None:
        return HeardAttempt(None, None, "no answer, so no path to explain")
    if not call.spans:
        return HeardAttempt(None, None, NO_MAPPED_SPANS)
    if moments.t1_ns is None or moments.frame_sent_ns is None:
        return HeardAttempt(None, None, "the agent was audible before t0: there is no gap to explain")
    spans, within_ns, notes = call.spans, 0, []
    if not call.same_host:
        try:
            spans, within_ns = remote.align_foreign_spans(record, spans, call.mapping, moments.t1_ns)
        except ValueError as error:
            return HeardAttempt(None, None, str(error))
        notes.append(remote.describe_offset(within_ns))
    turn = foreign.read_turn(
        spans,
        call.mapping,
        speech_ns=moments.speech_ns - within_ns,
        heard_from_ns=moments.frame_sent_ns,
        received_ns=moments.onset_message.recv_ns + within_ns,
    )
    if not turn.intervals:
        return HeardAttempt(None, None, turn.note or NO_MAPPED_SPANS)
    activities = {
        activity: Interval(begin_ns, min(end_ns, moments.onset_message.recv_ns))
        for activity, (begin_ns, end_ns) in turn.intervals.items()
        if begin_ns <= moments.onset_message.recv_ns
    }
    activities[Activity.FRAMING_IN] = Interval(moments.t0_ns, moments.frame_due_ns)
    activities[Activity.LEAD_IN] = Interval(min(moments.onset_message.play_ns, moments.t1_ns), moments.t1_ns)
    notes.append(turn.note)
    span = _as_turn_span(record, moments, turn)
    note = "; ".join(filter(None, notes))
    return HeardAttempt(span, activities, note, _uncertain(call.mapping, within_ns) if within_ns else {})


@dataclass(frozen=True, slots=True)
class OwnSpans:
    """Our agent's spans on our clock."""

    spans: tuple[Span, ...]
    within_ns: dict[tuple[int, int], int]
    """By turn and attempt: how far its times may be off; empty for an agent on this host."""
    note: str
    """Why there are none; "" if there are."""


def align_own(record: CallRecord, spans: Sequence[Span]) -> OwnSpans:
    """Return our agent's spans; those of this boot as they are, those of another host aligned."""
    away = tuple(span for span in spans if tracing.BOOT_ID in span.attributes and span.call_sid == record.call_sid)
    if not away:
        return OwnSpans(tuple(spans), {}, "")
    aligned = remote.align_own_spans(record, away)
    return OwnSpans(aligned.spans, aligned.within_ns, aligned.note)


def _uncertain(mapping: SpanMapping, within_ns: int) -> dict[Stage, float]:
    """Return the uncertainty of the stages that begin or end with a time of the instrument's own, ms."""
    crossing = [stage for stage, mapped in mapping.stages.items() if mapped.ends.instrument or mapped.begins.instrument]
    return dict.fromkeys((Stage.ENDPOINTING, *crossing, Stage.UNEXPLAINED), to_ms(within_ns))


def _as_turn_span(record: CallRecord, moments: Milestones, turn: foreign.TurnSpans) -> Span:
    """Return the turn as our agent would have described it, as far as it is known."""
    texts = {tracing.TRANSCRIPT: turn.transcript, tracing.REPLY: turn.reply}
    assert moments.t1_ns is not None
    return Span(
        name=tracing.TURN_SPAN,
        start_ns=min(begin_ns for begin_ns, _ in turn.intervals.values()),
        end_ns=moments.t1_ns,
        call_sid=record.call_sid,
        turn=-1,
        attempt=1,
        attributes={key: text for key, text in texts.items() if text is not None},
    )
