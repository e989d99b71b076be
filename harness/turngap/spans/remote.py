"""Brings the spans of an agent on another host to our clock, reply by reply, with the uncertainty that remains. Pure.

An agent of ours reports when it read each of our frames and when it handed its own messages over, on its host's
monotonic clock: many facts, a few ms apart. Of another framework's agent little is certain: its call ends after we
hung up, and its first reply is ready before we receive any sound. So its bounds are wider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from turngap_agent import tracing
from turngap_agent.tracing import Span

from turngap.clock import NS_PER_MS, to_ms
from turngap.model.records import CallEnd, CallRecord
from turngap.model.span_mapping import SpanMapping
from turngap.spans.alignment import Alignment
from turngap.spans.foreign import ForeignSpan, moment_ns

REACH_NS = 2_000 * NS_PER_MS
"""All of an answer's work lies within this time of the point at which its offset is taken."""
MARK = re.compile(r"turn-(\d+)-(\d+)")
"""The marks that our agent sends after the last audio of a reply: turn and attempt."""
_TIMES = (
    tracing.PROVISIONAL_NS,
    tracing.CONFIRMED_NS,
    tracing.SENT_NS,
    tracing.ARRIVALS_NS,
    tracing.PAUSED_NS,
    tracing.WENT_ON_NS,
)
"""Attributes of a turn span that are times."""
UNBOUNDED = "the agent's clock is another host's, and nothing bounds the offset to it"


@dataclass(frozen=True, slots=True)
class AlignedSpans:
    """A call's spans on our clock."""

    spans: tuple[Span, ...]
    within_ns: dict[tuple[int, int], int]
    """By turn and attempt: how far its times may be off, either way."""
    note: str
    """Why there are none; "" if they are aligned."""


def align_own_spans(record: CallRecord, spans: Sequence[Span]) -> AlignedSpans:
    """Return spans of our agent on another host, aligned attempt by attempt by what was sent and received."""
    alignment = Alignment.of_messages(_frames_read(record, spans), _messages_received(record, spans))
    if not alignment.is_bounded:
        return AlignedSpans((), {}, UNBOUNDED)
    first = alignment.at_most[0]
    shifts: dict[tuple[int, int], tuple[int, int]] = {}
    for span in spans:
        if span.name != tracing.TURN_SPAN:
            continue
        sent_ns = span.attributes.get(tracing.SENT_NS, span.start_ns)
        near_ns = (sent_ns if isinstance(sent_ns, int) else span.start_ns) - first.offset_ns
        try:
            shifts[span.turn, span.attempt] = alignment.offset_near(near_ns, REACH_NS)
        except ValueError as error:
            return _not_aligned(error)
    try:
        whole, _ = alignment.offset_near((record.started_ns + record.ended_ns) // 2, 0)
    except ValueError as error:
        return _not_aligned(error)
    moved = tuple(shift_span(span, shifts.get((span.turn, span.attempt), (whole, 0))[0]) for span in spans)
    return AlignedSpans(moved, {key: within_ns for key, (_, within_ns) in shifts.items()}, "")


def _not_aligned(error: ValueError) -> AlignedSpans:
    return AlignedSpans((), {}, f"the agent's clock is another host's, and {error}")


def align_foreign_spans(
    record: CallRecord, spans: Sequence[ForeignSpan], mapping: SpanMapping, near_ns: int
) -> tuple[tuple[ForeignSpan, ...], int]:
    """Return a call's spans on our clock around the time `near_ns`, and how far they may be off either way, ns.

    Raises:
        ValueError: the offset is not bounded; the message says why.
    """
    ends_ns = [span.end_ns for span in spans if span.name == mapping.call.span]
    to_agent = [(record.ended_ns, end_ns) for end_ns in ends_ns if record.end is CallEnd.COMPLETED]
    ready_ns = [at_ns for span in spans for at_ns in _reply_moments(span, mapping)]
    heard = next((message.recv_ns for message in record.received if len(message.pcm)), None)
    to_us = [(heard, min(ready_ns))] if ready_ns and heard is not None else []
    alignment = Alignment.of_messages(to_agent, to_us)
    if not alignment.is_bounded:
        raise ValueError("nothing bounds the offset to the agent's clock")
    offset_ns, within_ns = alignment.offset_near(near_ns, REACH_NS)
    moved = (replace(span, start_ns=span.start_ns - offset_ns, end_ns=span.end_ns - offset_ns) for span in spans)
    return tuple(moved), within_ns


def describe_offset(within_ns: int) -> str:
    """Return a note on times that were aligned."""
    return f"the agent's clock is another host's: its times are known to ±{to_ms(within_ns):.1f} ms"


def _frames_read(record: CallRecord, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield (our time, the agent's) of each frame that it says it has read; a frame never leaves before it is due."""
    frames = {chunk: frame for frame in range(len(record.sent_ns)) if (chunk := record.chunk_of(frame)) is not None}
    for span in spans:
        first, arrivals = span.attributes.get(tracing.ARRIVAL_FIRST_CHUNK), span.attributes.get(tracing.ARRIVALS_NS)
        if not isinstance(first, int) or not isinstance(arrivals, tuple):
            continue
        for chunk, read_ns in enumerate(arrivals, start=first):
            if chunk in frames:
                yield record.frame_due_ns(frames[chunk]), read_ns


def _messages_received(record: CallRecord, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield (our time, the agent's) of what it sent: its first audio, and the last audio before each mark."""
    sent_ns = [at_ns for span in spans if isinstance(at_ns := span.attributes.get(tracing.SENT_NS), int)]
    heard = next((message.recv_ns for message in record.received if len(message.pcm)), None)
    if sent_ns and heard is not None:
        yield heard, min(sent_ns)
    last_ns: dict[tuple[int, int], int] = {}
    for span in spans:
        if span.name == tracing.CLAUSE_SPAN:
            key = (span.turn, span.attempt)
            last_ns[key] = max(last_ns.get(key, span.end_ns), span.end_ns)
    for mark in record.marks:
        found = MARK.fullmatch(mark.name)
        if found is not None and (key := (int(found[1]), int(found[2]))) in last_ns:
            yield mark.recv_ns, last_ns[key]


def shift_span(span: Span, offset_ns: int) -> Span:
    """Return the span on a clock that is `offset_ns` behind its own."""
    attributes = dict(span.attributes)
    for key in _TIMES:
        value = attributes.get(key)
        if isinstance(value, tuple):
            attributes[key] = tuple(at_ns - offset_ns for at_ns in value)
        elif isinstance(value, int) and not isinstance(value, bool):
            attributes[key] = value - offset_ns
    return replace(span, start_ns=span.start_ns - offset_ns, end_ns=span.end_ns - offset_ns, attributes=attributes)


def _reply_moments(span: ForeignSpan, mapping: SpanMapping) -> Iterator[int]:
    """Yield when sound of a reply was ready, by the stages that end when the caller's side received it."""
    for stage in mapping.stages.values():
        if stage.ends.instrument == "received" and stage.begins.span == span.name:
            at_ns = moment_ns(span, stage.begins)
            if at_ns is not None:
                yield at_ns
