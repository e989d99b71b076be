"""Collects the agent's spans, call by call, from the process that receives them, and checks that they are complete."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from turngap_agent import tracing
from turngap_agent.errors import HarnessError, UsageError
from turngap_agent.tracing import Span

from turngap.model.plural import plural
from turngap.model.records import CallRecord
from turngap.model.span_mapping import SpanMapping
from turngap.processes import child
from turngap.spans.foreign import CALL_MARGIN_NS, ForeignSpan, name_calls, select_call_spans

SILENT_AGENT_TIMEOUT_S = 0.25
"""Time limit for a call's spans of an agent that sends none."""
SILENT_CALLS = 2
"""An agent without any span so far sends none after so many calls in a row without one."""


@dataclass(frozen=True, slots=True)
class CollectedSpans:
    """The spans of one call."""

    spans: tuple[Span, ...]
    note: str
    """What is missing, in one line; "" if the spans are complete."""
    foreign: tuple[ForeignSpan, ...] = ()
    """Those of another framework's agent that can be the call's, by the run's mapping."""


class SpanReceiver:
    """The receiving process, and the spans that it has passed on."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: str, mapping: SpanMapping | None = None) -> None:
        self.endpoint = endpoint
        self._mapping = mapping
        self._foreign: list[ForeignSpan] = []
        self._of_ends = 0
        """The spans so far that end a call, or say which call their trace is of."""
        self.counts: dict[str, int] = {}
        """Spans that were not used: `duplicate`, `foreign`, `other_boot`; and `malformed` requests."""
        self._process = process
        self._calls: defaultdict[str, list[Span]] = defaultdict(list)
        self._collected: set[str] = set()
        self._arrived = asyncio.Condition()
        self._silent_calls = 0
        self._any_span = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, file: Path, port: int = 0, *, mapping: SpanMapping | None = None, other_boots: bool = False
    ) -> Self:
        """Start a receiver that also appends every span to `file`.

        It takes the spans that `mapping` names, and with `other_boots` those of our agent on another host.

        Raises:
            UsageError: `port` is in use.
            HarnessError: it did not start.
        """
        wanted = [*(["--other-boots"] if other_boots else []), *sorted(mapping.used_names if mapping else ())]
        command = child.python_command("turngap.processes.span_server", str(port), str(file), *wanted)
        process = await child.start_child(command, stderr=None)
        hello = await child.read_hello(process, "the span receiver")
        if "endpoint" in hello:
            return cls(process, hello["endpoint"], mapping)
        await child.stop_child(process, grace_s=1.0)
        if "error" in hello and port:
            raise UsageError(f"--otlp-port {port}: {hello['error']}; give another port, or 0 for a free one")
        raise HarnessError(f"the span receiver did not start: {hello.get('error', 'see the lines above')}")

    async def collect(self, call_sid: str, timeout_s: float) -> CollectedSpans:
        """Wait until the call's spans are complete, at most `timeout_s`; return them and forget them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_AGENT_TIMEOUT_S if self._sends_none else timeout_s):
                async with self._arrived:
                    await self._arrived.wait_for(lambda: not describe_missing(self._calls.get(call_sid, ())))
        spans = tuple(self._calls.pop(call_sid, ()))
        self._collected.add(call_sid)
        self._silent_calls = 0 if spans else self._silent_calls + 1
        return CollectedSpans(spans, describe_missing(spans) + self._why_none(spans))

    async def collect_for(self, call: CallRecord, timeout_s: float) -> CollectedSpans:
        """Wait for the spans of a call that has ended, as `collect` does; by the mapping, if there is one."""
        if self._mapping is None:
            return await self.collect(call.call_sid, timeout_s)
        mapping = self._mapping
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_AGENT_TIMEOUT_S if self._sends_none else timeout_s):
                async with self._arrived:
                    await self._arrived.wait_for(self._watch_for_end(call, mapping))
        spans = select_call_spans(call, self._foreign, mapping)
        self._forget(call, spans, mapping)
        self._silent_calls = 0 if spans else self._silent_calls + 1
        if not spans:
            note = f"the agent sent no spans that mapping {mapping.name} uses"
        elif not any(span.name == mapping.call.span for span in spans):
            note = f"the span {mapping.call.span!r}, which ends with the call, did not arrive within {timeout_s:g} s"
        else:
            note = ""
        return CollectedSpans((), note, spans)

    def _watch_for_end(self, call: CallRecord, mapping: SpanMapping) -> Callable[[], bool]:
        """Return a condition: the span that ends with the call is there. It looks again if a span says more of that."""
        looked_at = -1

        def has_ended() -> bool:
            nonlocal looked_at
            if looked_at == self._of_ends:
                return False
            looked_at = self._of_ends
            return any(span.name == mapping.call.span for span in select_call_spans(call, self._foreign, mapping))

        return has_ended

    def _add_foreign(self, span: ForeignSpan) -> None:
        self._foreign.append(span)
        call = self._mapping.call if self._mapping is not None else None
        if call is None or span.name == call.span or call.attribute in {*span.attributes, *span.resource}:
            self._of_ends += 1

    def _forget(self, call: CallRecord, spans: tuple[ForeignSpan, ...], mapping: SpanMapping) -> None:
        """Drop spans that were returned, and those that ended long before the call and can be no other's."""
        named = name_calls(self._foreign, mapping)
        self._foreign = [
            span
            for span in self._foreign
            if span not in spans and (span.trace_id in named or span.end_ns >= call.started_ns - CALL_MARGIN_NS)
        ]

    def current_spans(self, call_sid: str) -> tuple[Span, ...]:
        """Return the spans so far of a call that is under way; `collect` returns them again."""
        return tuple(self._calls.get(call_sid, ()))

    def unused_span_notes(self) -> tuple[str, ...]:
        """Return notes on received spans that were not used, one line each; complete once the receiver has stopped."""
        late = sum(len(spans) for call_sid, spans in self._calls.items() if call_sid in self._collected)
        unrelated = sum(len(spans) for call_sid, spans in self._calls.items() if call_sid not in self._collected)
        counts = {
            "arrived after their call had been scored": late,
            "arrived twice, and count once": self.counts.get("duplicate", 0),
            "were of calls that are not this run's": unrelated,
            "are from another host or boot, whose clock is not ours": self.counts.get("other_boot", 0),
            f"had no turngap attributes{self._nor_mapped}": self.counts.get("foreign", 0),
        }
        lines = [f"spans: {count} {text}" for text, count in counts.items() if count]
        if self.counts.get("malformed"):
            lines.append(f"spans: {self.counts['malformed']} requests could not be read")
        return tuple(lines)

    async def stop(self) -> None:
        """Stop the process; its last spans are in its file."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 2.0)
        await child.stop_child(self._process, grace_s=1.0)
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            row = json.loads(line)
            if "counts" in row:
                self.counts = row["counts"]
            elif "foreign" in row:
                self._add_foreign(parse_foreign_row(row))
                self._any_span = True
            else:
                span = parse_row(row)
                self._calls[span.call_sid].append(span)
                self._any_span = True
            async with self._arrived:
                self._arrived.notify_all()
            await asyncio.sleep(0)  # a burst of buffered lines must not delay a caller's frame

    @property
    def _nor_mapped(self) -> str:
        return f", and mapping {self._mapping.name} uses none of them" if self._mapping is not None else ""

    @property
    def _sends_none(self) -> bool:
        # A single late span ends it: the short time limit must not be why calls have no spans.
        return not self._any_span and self._silent_calls >= SILENT_CALLS

    def _why_none(self, spans: tuple[Span, ...]) -> str:
        if spans or not self.counts.get("other_boot"):
            return ""
        return " (spans are from another host or boot, whose clock is not ours)"


def parse_row(row: dict[str, Any]) -> Span:
    """Return a line of `spans.jsonl` as a span; lists become tuples."""
    attributes = {key: tuple(value) if isinstance(value, list) else value for key, value in row["attributes"].items()}
    return Span(
        name=row["name"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        call_sid=row["call_sid"],
        turn=row["turn"],
        attempt=row["attempt"],
        attributes=attributes,
    )


def parse_foreign_row(row: dict[str, Any]) -> ForeignSpan:
    """Return a line of `spans.jsonl` as a span of another framework's agent."""
    return ForeignSpan(
        name=row["name"],
        trace_id=row["foreign"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        attributes=row["attributes"],
        resource=row["resource"],
    )


def describe_missing(spans: Iterable[Span]) -> str:
    """Return a line that says which spans of a call are missing by the agent's own counts; "" if none is."""
    spans = tuple(spans)
    if not spans:
        return "the agent sent no spans"
    call = next((span for span in spans if span.name == tracing.CALL_SPAN), None)
    if call is None:
        return "the call's own span is missing"
    inside = [span for span in spans if span.name != tracing.CALL_SPAN]
    turns = {(span.turn, span.attempt): span for span in inside if span.name == tracing.TURN_SPAN}
    expected = call.attributes.get(tracing.ATTEMPTS, 0)
    if not isinstance(expected, int) or len(turns) < expected:
        return f"{len(turns)} of {expected} turn spans arrived"
    for (turn, attempt), span in turns.items():
        received = sum((other.turn, other.attempt) == (turn, attempt) for other in inside)
        sent = span.attributes.get(tracing.SPANS, 0)
        if isinstance(sent, int) and received < sent:
            return f"{received} of {plural(sent, 'span')} of turn {turn}, attempt {attempt} arrived"
    return ""
