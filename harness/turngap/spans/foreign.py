"""Spans of another framework's agent: which are a call's, which a turn's, and what they say about its stages. Pure.

The spans of a turn are found by time, backwards from the message with the reply's first sound: of each span that the
mapping names, the last one whose moments were over by then, then the last one before that, and so on. What was begun
and never heard (an interrupted reply) is thereby left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turngap_agent.tracing import Activity, Stage

from turngap.clock import NS_PER_MS
from turngap.model.records import CallRecord
from turngap.model.span_mapping import Attribute, MappedStage, Moment, SpanMapping

AttributeValues = Mapping[str, Any]
_NS_PER_UNIT = {"s": 1_000_000_000, "ms": NS_PER_MS, "ns": 1}
_LONGEST_NS = 2**63
ORDER_TOLERANCE_NS = 2 * NS_PER_MS
"""So much later than what followed it a moment may seem: attributes are rounded, and two threads read the clock."""
CALL_MARGIN_NS = 2_000 * NS_PER_MS
"""So much longer than the caller's side a call may last on the agent's."""


@dataclass(frozen=True, slots=True)
class ForeignSpan:
    """A span as it was received; times in ns, on the clock that `Alignment` aligns."""

    name: str
    trace_id: str
    start_ns: int
    end_ns: int
    attributes: AttributeValues
    resource: AttributeValues


@dataclass(frozen=True, slots=True)
class TurnSpans:
    """What the spans say about a turn."""

    intervals: Mapping[Activity, tuple[int, int]]
    """The activities that are known, ns."""
    transcript: str | None
    reply: str | None
    note: str
    """What is missing, in one line; "" if nothing is."""


def select_call_spans(
    record: CallRecord, spans: Iterable[ForeignSpan], mapping: SpanMapping
) -> tuple[ForeignSpan, ...]:
    """Return the spans of a call: those of traces that name its id; if none does, those inside the call's time.

    A trace that names the id of another call is never taken.
    """
    spans = tuple(span for span in spans if span.name in mapping.used_names)
    ids = name_calls(spans, mapping)
    own = tuple(span for span in spans if ids.get(span.trace_id) == record.call_sid)
    if own:
        return own
    from_ns, to_ns = record.started_ns - CALL_MARGIN_NS, record.ended_ns + CALL_MARGIN_NS
    return tuple(
        span for span in spans if span.trace_id not in ids and span.end_ns >= from_ns and span.start_ns <= to_ns
    )


def name_calls(spans: Iterable[ForeignSpan], mapping: SpanMapping) -> dict[str, str]:
    """Return the call ids by trace, of the traces in which a span or its resource has one."""
    key = mapping.call.attribute
    ids: dict[str, str] = {}
    for span in spans:
        value = None if key is None else span.attributes.get(key, span.resource.get(key))
        if value is not None:
            ids[span.trace_id] = str(value)
    return ids


def read_turn(
    spans: Sequence[ForeignSpan], mapping: SpanMapping, *, speech_ns: int, heard_from_ns: int, received_ns: int
) -> TurnSpans:
    """Return the stages of the turn whose reply's first sound was received at `received_ns`.

    Args:
        spans: The call's spans, in any order.
        mapping: What they mean.
        speech_ns: When the utterance began: spans whose moments were over by then are of earlier turns.
        heard_from_ns: When the frame that ended it left: an end of turn was not being decided before.
        received_ns: When the message with the reply's first sound was received.
    """
    chosen, missing = _choose_spans(spans, mapping, speech_ns, received_ns)
    times: dict[Moment, int | None] = {
        moment: received_ns if moment.span is None else moment_ns(chosen.get(moment.span), moment)
        for moment in mapping.moments()
    }
    intervals: dict[Activity, tuple[int, int]] = {}
    for stage, mapped in mapping.stages.items():
        begin_ns, end_ns = times[mapped.begins], times[mapped.ends]
        if begin_ns is None or end_ns is None:
            missing += [_describe_gap(stage, mapped, chosen)]
        elif end_ns < begin_ns - ORDER_TOLERANCE_NS:
            missing.append(f"{stage} ends before it begins")
        else:
            intervals[Activity(stage.value)] = (begin_ns, max(begin_ns, end_ns))
    intervals |= _decisions(mapping, times, intervals, heard_from_ns)
    note = "; ".join(dict.fromkeys(text for text in missing if text))
    return TurnSpans(
        intervals,
        transcript=_join_texts(spans, mapping.transcript, speech_ns, received_ns, _used(chosen, mapping.transcript)),
        reply=_text(spans, mapping.reply, received_ns, _used(chosen, mapping.reply)),
        note=f"{mapping.name} spans: {note}" if note else "",
    )


def _choose_spans(
    spans: Sequence[ForeignSpan], mapping: SpanMapping, speech_ns: int, received_ns: int
) -> tuple[dict[str, ForeignSpan], list[str]]:
    """Return a span for each name that the mapping uses, and what is missing."""
    chosen: dict[str, ForeignSpan] = {}
    missing: list[str] = []
    before_ns = received_ns
    for name in mapping.span_names:
        moments = [moment for moment in mapping.moments() if moment.span == name]
        candidates = []
        for span in spans:
            known = [at_ns for moment in moments if (at_ns := moment_ns(span, moment)) is not None]
            if span.name == name and known and speech_ns <= max(known) <= before_ns + ORDER_TOLERANCE_NS:
                candidates.append((max(known), min(known), span))
        if candidates:
            _, first_ns, chosen[name] = max(candidates, key=lambda candidate: candidate[:2])
            before_ns = min(before_ns, max(first_ns, speech_ns))
        else:
            missing.append(f"no {name!r} in this turn")
    return chosen, missing


def _decisions(
    mapping: SpanMapping,
    times: Mapping[Moment, int | None],
    intervals: Mapping[Activity, tuple[int, int]],
    heard_from_ns: int,
) -> dict[Activity, tuple[int, int]]:
    """Return the provisional and the confirmed end of the turn, as far as the spans contain them."""
    rule = mapping.endpointing
    found: dict[Activity, tuple[int, int]] = {}
    transcribed = intervals.get(Activity.TRANSCRIPTION)
    for activity, moment in ((Activity.PROVISIONAL_END, rule.provisional), (Activity.CONFIRMED_END, rule.confirmed)):
        at_ns = times[moment] if moment is not None else None
        if at_ns is None:
            continue
        if activity is Activity.CONFIRMED_END and rule.released_within_ms and transcribed is not None:
            waited_ns = at_ns - transcribed[1]
            if 0 <= waited_ns <= rule.released_within_ms * NS_PER_MS:
                continue
        found[activity] = (min(heard_from_ns, at_ns), at_ns)
    return found


def moment_ns(span: ForeignSpan | None, moment: Moment) -> int | None:
    """Return the moment in this span; None if it lacks the attribute."""
    if span is None:
        return None
    at_ns = span.start_ns if moment.at == "start" else span.end_ns
    for key, sign in ((moment.add, 1), (moment.subtract, -1)):
        if key is not None:
            value = span.attributes.get(key)
            if not isinstance(value, int | float) or isinstance(value, bool):
                return None
            shift_ns = value * _NS_PER_UNIT[moment.unit]
            if not abs(shift_ns) < _LONGEST_NS:  # nan is not either
                return None
            at_ns += sign * round(shift_ns)
    return at_ns + round(moment.offset_ms * NS_PER_MS)


def _describe_gap(stage: Stage, mapped: MappedStage, chosen: Mapping[str, ForeignSpan]) -> str:
    """Return why a stage is not known; "" where its span is missing altogether, which is said once."""
    for moment in (mapped.begins, mapped.ends):
        span = chosen.get(moment.span) if moment.span is not None else None
        for key in (moment.add, moment.subtract):
            if span is not None and key is not None and key not in span.attributes:
                return f"{span.name!r} has no {key!r}, so {stage} is not known"
    return ""


def _used(chosen: Mapping[str, ForeignSpan], text: Attribute | None) -> ForeignSpan | None:
    """Return the span with a text, if stages are made of it too."""
    return chosen.get(text.span) if text is not None else None


def _join_texts(
    spans: Sequence[ForeignSpan], text: Attribute | None, speech_ns: int, received_ns: int, last: ForeignSpan | None
) -> str | None:
    """Return the words of a turn: those of its spans from the utterance's start on, up to the one that was used.

    A span that no stage uses counts if it began before the reply was received.
    """
    if text is None:
        return None
    own = sorted((span for span in spans if span.name == text.span and span.end_ns >= speech_ns), key=_by_end)
    until = [span for span in own if (span.end_ns <= last.end_ns if last is not None else span.start_ns <= received_ns)]
    parts = [value for span in until if isinstance(value := span.attributes.get(text.attribute), str)]
    return " ".join(parts) or None


def _by_end(span: ForeignSpan) -> int:
    return span.end_ns


def _text(
    spans: Sequence[ForeignSpan], text: Attribute | None, received_ns: int, used: ForeignSpan | None
) -> str | None:
    """Return the text of the span that was used, or of the last that began before the reply was received."""
    if text is None:
        return None
    named = [span for span in spans if span.name == text.span and span.start_ns <= received_ns]
    span = used or max(named, key=lambda span: span.start_ns, default=None)
    value = None if span is None else span.attributes.get(text.attribute)
    return value if isinstance(value, str) else None
