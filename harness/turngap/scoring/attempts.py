"""Find the attempt that was heard in a turn, and turn its spans into the activities of the critical path.

Spans are matched by time, never by turn number: the agent may count turns differently. The attempt that was heard is
the one whose first message was handed over last, yet after the utterance began and before the message that holds the
reply's onset was received. If there is any doubt (spans lost, two that contradict each other, times of another
clock), the result is a note and no activities: stages are incomplete, never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from turngap_agent import tracing
from turngap_agent.tracing import Activity, Span, Stage

from turngap.clock import NS_PER_MS, to_ms
from turngap.model.plural import plural
from turngap.model.records import CallRecord, Received
from turngap.scoring.critical_path import Interval
from turngap.scoring.milestones import Milestones
from turngap.spans.remote import shift_span

CALL_MARGIN_NS = 60_000 * NS_PER_MS
"""Spans further than this outside their call have times of another clock."""
CLOCK_TOLERANCE_NS = 1 * NS_PER_MS
"""How much earlier than it was sent a frame may appear to be read: two processes read the clock."""
NEVER = 2**63 - 1
"""A time after any other."""
NONE_OFF: Mapping[tuple[int, int], int] = MappingProxyType({})
"""All times are of this host's clock."""
NO_SPANS = "the agent sent no spans for this call"


@dataclass(frozen=True, slots=True)
class CallSpans:
    """The spans of one call, without duplicates."""

    spans: tuple[Span, ...]
    whole: bool
    """There are as many turn spans as the call span says; False without a call span."""
    note: str
    """Why there are none, or what was lost, in one line."""

    @property
    def turns(self) -> tuple[Span, ...]:
        """The turn spans: one for each attempt."""
        return tuple(span for span in self.spans if span.name == tracing.TURN_SPAN)


@dataclass(frozen=True, slots=True)
class HeardAttempt:
    """The attempt that was heard in a turn, as far as it is known."""

    turn_span: Span | None
    activities: dict[Activity, Interval] | None
    """None if the stages are not known for certain."""
    note: str
    uncertain_ms: Mapping[Stage, float] = field(default_factory=dict)
    """How far the times of stages may be off either way, for an agent on another host."""


def select_call_spans(record: CallRecord, spans: Sequence[Span]) -> CallSpans:
    """Return the spans of this call that have times of this host's clock, without duplicates."""
    own: list[Span] = []
    for span in spans:
        if span.call_sid == record.call_sid and span not in own:
            own.append(span)
    from_ns, to_ns = record.started_ns - CALL_MARGIN_NS, record.ended_ns + CALL_MARGIN_NS
    timed = tuple(span for span in own if from_ns <= span.start_ns <= span.end_ns <= to_ns)
    if not timed:
        if own:
            return CallSpans((), False, "the spans' times are not of this host's clock")
        return CallSpans((), False, NO_SPANS + (f" ({len(spans)} of other calls)" if spans else ""))
    call = next((span for span in timed if span.name == tracing.CALL_SPAN), None)
    attempts = len({(span.turn, span.attempt) for span in timed if span.name == tracing.TURN_SPAN})
    expected = None if call is None else _number(call, tracing.ATTEMPTS)
    if expected is None:
        return CallSpans(timed, False, "the call's own span is missing: a lost attempt would not be noticed")
    note = f"{attempts} of {expected} turn spans arrived" if attempts < expected else ""
    if attempts > expected:
        note = f"{plural(attempts, 'turn span')} arrived, of a call that has {expected} by its own span"
    return CallSpans(timed, not note, note)


def find_heard_attempt(
    record: CallRecord, call: CallSpans, moments: Milestones, within_ns: Mapping[tuple[int, int], int] = NONE_OFF
) -> HeardAttempt:
    """Return the attempt whose sound was the turn's onset, with its activities.

    `within_ns`, by turn and attempt: how far the times of an agent on another host may be off.
    """
    if moments.onset_message is None:
        return HeardAttempt(None, None, "no answer, so no path to explain")
    if not call.spans:
        return HeardAttempt(None, None, call.note)
    sent = [
        (at_ns, span)
        for span in call.turns
        if (at_ns := first_sent_ns(span)) is not None
        and moments.speech_ns <= at_ns <= moments.onset_message.recv_ns + within_ns.get((span.turn, span.attempt), 0)
    ]
    if not sent:
        return HeardAttempt(None, None, call.note or "no attempt says that it sent what was heard")
    handed_ns, span = max(sent, key=lambda pair: pair[0])
    if not call.whole and _was_interrupted(span):  # what was heard may be of a later attempt, which was lost
        return HeardAttempt(None, None, call.note)
    if moments.t1_ns is None or moments.frame_sent_ns is None:
        return HeardAttempt(span, None, "the agent was audible before t0: there is no gap to explain")
    attempt = [other for other in call.spans if (other.turn, other.attempt) == (span.turn, span.attempt)]
    fault = _find_contradiction(span, [other for other in attempt if other.name != tracing.CALL_SPAN])
    chunk = record.chunk_of(moments.frame)
    arrival_ns = None if chunk is None else _arrival_ns(span, chunk)
    if not fault and chunk is None:
        fault = f"the frame that holds t0 was lost on the network {record.network!r}: the agent never read it"
    elif not fault and arrival_ns is None:
        fault = f"the turn span does not say when chunk {chunk}, which holds t0, arrived"
    # Due, not sent: a busy host may take the caller off the CPU between its write and the time stamp of it.
    off_ns = within_ns.get((span.turn, span.attempt), 0)
    if not fault and arrival_ns is not None and arrival_ns < moments.frame_due_ns - CLOCK_TOLERANCE_NS - off_ns:
        fault = "the frame that holds t0 was read before it was complete: the agent's clock is not this host's"
    if fault or arrival_ns is None:
        return HeardAttempt(span, None, fault)
    first = next(one for one in record.received if one.recv_ns >= handed_ns - off_ns and one.played_samples)
    late_ns = max(0, handed_ns - first.recv_ns)
    if late_ns:  # on a clock that is known to ± off_ns: what was received had been sent, which bounds it further
        span, attempt = shift_span(span, late_ns), [shift_span(other, late_ns) for other in attempt]
        arrival_ns, handed_ns = arrival_ns - late_ns, first.recv_ns
    activities = _agent_activities(span, attempt, moments.t0_ns, arrival_ns)
    activities |= _measured_activities(first, moments, moments.frame_sent_ns, arrival_ns, handed_ns)
    crossing = (Stage.TRANSPORT_IN, Stage.TRANSPORT_OUT, Stage.UNEXPLAINED)
    uncertain = dict.fromkeys(crossing, to_ms(off_ns)) if off_ns else {}
    return HeardAttempt(span, activities, call.note, uncertain)


def first_sent_ns(span: Span) -> int | None:
    """Return when an attempt's first message was handed to the socket; None if it never was."""
    return _number(span, tracing.SENT_NS) if span.attributes.get(tracing.HEARD) is True else None


def attempts_started_between(call: CallSpans, from_ns: int, to_ns: int) -> tuple[Span, ...] | None:
    """Return the turn spans of the attempts started in that time, cancelled ones included; None if some may be lost."""
    if not call.whole:
        return None
    return tuple(
        span for span in call.turns if from_ns <= (_number(span, tracing.PROVISIONAL_NS) or span.start_ns) < to_ns
    )


def first_answer_sent_ns(call: CallSpans, speech_ns: int) -> int | None:
    """Return when the first message of a reply to this utterance was sent; None if some attempt may be lost.

    `NEVER` if there was no such reply: then nothing that was heard is an answer.
    """
    if not call.whole:
        return None
    return min(
        (at_ns for span in call.turns if (at_ns := first_sent_ns(span)) is not None and at_ns >= speech_ns),
        default=NEVER,
    )


def first_own_answer_sent_ns(call: CallSpans, speech_ns: int) -> int | None:
    """Return when the first message of a reply to the utterance from `speech_ns` on was sent, if one to an earlier
    utterance was still being sent then; None if not, or if some attempt may be lost.

    A reply that was decided on before the utterance is one to an earlier one: late, and no cut-off of this one. Of a
    reply that was first sent during it, that is so only if its span says when it was decided on: the span's own start
    may be the caller's. `NEVER` if there was no reply to this utterance.
    """
    if not call.whole:
        return None
    heard = [(at_ns, span) for span in call.turns if (at_ns := first_sent_ns(span)) is not None]
    earlier = [span for at_ns, span in heard if _decided_ns(span, at_ns) < speech_ns]
    if not any(_last_sent_ns(call, span) > speech_ns for span in earlier):
        return None
    return min((at_ns for at_ns, span in heard if _decided_ns(span, at_ns) >= speech_ns), default=NEVER)


def was_reply_interrupted(call: CallSpans, speech_ns: int) -> bool | None:
    """Return whether the reply that was playing when the caller spoke was interrupted; None if that is not known."""
    before = [(at_ns, span) for span in call.turns if (at_ns := first_sent_ns(span)) is not None and at_ns < speech_ns]
    if not call.whole or not before:
        return None
    return _was_interrupted(max(before, key=lambda pair: pair[0])[1])


def text_attribute(span: Span | None, attribute: str) -> str | None:
    """Return a text attribute, None if there is none."""
    value = None if span is None else span.attributes.get(attribute)
    return value if isinstance(value, str) else None


def count_foreign_prefix_tokens(span: Span | None) -> int | None:
    """Return how many more prompt tokens the prefix cache served than the system prompt and the call's history have.

    More than 0 makes the language model look too fast: it used another call's work. None if not reported.
    """
    if span is None:
        return None
    cached, allowed = _number(span, tracing.PREFIX_CACHED_TOKENS), _number(span, tracing.PREFIX_ALLOWED_TOKENS)
    return None if cached is None or allowed is None else max(0, cached - allowed)


def _decided_ns(turn_span: Span, sent_ns: int) -> int:
    """Return when the agent took the caller's turn to be over; when it first sent its reply, unless it says earlier."""
    decided_ns = _number(turn_span, tracing.CONFIRMED_NS) or _number(turn_span, tracing.PROVISIONAL_NS)
    return sent_ns if decided_ns is None else min(decided_ns, sent_ns)


def _last_sent_ns(call: CallSpans, turn_span: Span) -> int:
    """Return when the last message of an attempt was sent, as far as its clauses say; at least its first."""
    ends_ns = (
        span.end_ns
        for span in call.spans
        if span.name == tracing.CLAUSE_SPAN and (span.turn, span.attempt) == (turn_span.turn, turn_span.attempt)
    )
    return max([first_sent_ns(turn_span) or 0, *ends_ns])


def _was_interrupted(turn_span: Span) -> bool:
    """Return whether a reply that was heard, in part or to its end, was interrupted; it is then not `CANCELLED`."""
    return tracing.HEARD_TEXT in turn_span.attributes


def _find_contradiction(turn_span: Span, attempt: Sequence[Span]) -> str:
    """Return why this attempt's spans cannot be trusted, "" if they can."""
    name = f"turn {turn_span.turn}, attempt {turn_span.attempt}"
    declared = _number(turn_span, tracing.SPANS)
    if declared is not None and len(attempt) < declared:
        return f"{len(attempt)} of {plural(declared, 'span')} of {name} arrived"
    if declared is not None and len(attempt) > declared:
        return f"{len(attempt)} spans of {name} arrived, of {declared}: two attempts go by one name"
    stages = [span.stage for span in attempt if span.stage is not None]
    double = next((stage for stage in stages if stages.count(stage) > 1), None)
    if double is not None:
        return f"{name} has two different {double.value} spans"
    turn_spans = sum(span.name == tracing.TURN_SPAN for span in attempt)
    return f"{name} has {turn_spans} turn spans" if turn_spans > 1 else ""


def _agent_activities(
    turn_span: Span, attempt: Sequence[Span], t0_ns: int, arrival_ns: int
) -> dict[Activity, Interval]:
    intervals = {
        Activity(span.stage.value): Interval(span.start_ns, span.end_ns)
        for span in attempt
        if span.stage in tracing.AGENT_STAGES and span.stage is not Stage.ENDPOINTING
    }
    confirmed_ns = _number(turn_span, tracing.CONFIRMED_NS)
    provisional_ns = _number(turn_span, tracing.PROVISIONAL_NS)
    if provisional_ns is None:
        provisional_ns = confirmed_ns
    for activity, decided_ns in ((Activity.PROVISIONAL_END, provisional_ns), (Activity.CONFIRMED_END, confirmed_ns)):
        if decided_ns is not None:
            # Decided before t0's frame was there: on what had been heard by t0, so deciding went on at t0 already.
            began_ns = arrival_ns if decided_ns >= arrival_ns else min(t0_ns, decided_ns)
            intervals[activity] = Interval(began_ns, decided_ns)
    return intervals


def _measured_activities(
    first: Received, moments: Milestones, frame_sent_ns: int, arrival_ns: int, first_sent_ns: int
) -> dict[Activity, Interval]:
    """Return what the instrument itself measured: both directions of the line, and the silent start of the reply.

    `first` is the reply's first message. The instrument's own lateness with the frame is in no activity: it is
    unexplained, and validity limits it.
    """
    assert moments.t1_ns is not None
    return {
        Activity.FRAMING_IN: Interval(moments.t0_ns, moments.frame_due_ns),
        Activity.TRANSPORT_IN: Interval(min(frame_sent_ns, arrival_ns), arrival_ns),
        Activity.TRANSPORT_OUT: Interval(first_sent_ns, first.recv_ns),
        Activity.LEAD_IN: Interval(first.play_ns, moments.t1_ns),
    }


def _arrival_ns(turn_span: Span, chunk: int) -> int | None:
    arrivals = turn_span.attributes.get(tracing.ARRIVALS_NS)
    first = _number(turn_span, tracing.ARRIVAL_FIRST_CHUNK)
    if not isinstance(arrivals, Sequence) or isinstance(arrivals, str) or first is None:
        return None
    return arrivals[chunk - first] if 0 <= chunk - first < len(arrivals) else None


def _number(span: Span, attribute: str) -> int | None:
    value = span.attributes.get(attribute)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
