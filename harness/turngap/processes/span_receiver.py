"""The agent's spans as the run sees them: collected call by call from the receiver's process, and known to be whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from turngap_agent import tracing
from turngap_agent.errors import HarnessError, UsageError
from turngap_agent.tracing import Span

from turngap.model.plural import plural
from turngap.processes import child

SILENT_AGENT_TIMEOUT_S = 0.25
"""How long a call's spans are waited for from an agent that sends none."""
SILENT_CALLS = 2
"""So many silent calls in a row, and never a span in the whole run: such an agent sends none."""


@dataclass(frozen=True, slots=True)
class CollectedSpans:
    """The spans of one call."""

    spans: tuple[Span, ...]
    note: str
    """"" when all are there; else what is missing, in one line."""


class SpanReceiver:
    """A receiver process, and what it has handed on so far."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: str) -> None:
        self.endpoint = endpoint
        self.counts: dict[str, int] = {}
        """Spans that were not taken: `duplicate`, `foreign`, `other_boot`; and `malformed` requests."""
        self._process = process
        self._calls: defaultdict[str, list[Span]] = defaultdict(list)
        self._collected: set[str] = set()
        self._arrived = asyncio.Condition()
        self._silent_calls = 0
        self._heard_any = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, file: Path, port: int = 0) -> Self:
        """Start one that also appends every span to `file`.

        Raises:
            UsageError: `port` is in use.
            HarnessError: it did not start.
        """
        command = child.python("turngap.processes.span_server", str(port), str(file))
        process = await child.start(command, stderr=None)
        hello = await child.read_hello(process, "the span receiver")
        if "endpoint" in hello:
            return cls(process, hello["endpoint"])
        await child.stop(process, grace_s=1.0)
        if "error" in hello and port:
            raise UsageError(f"--otlp-port {port}: {hello['error']}; give another port, or 0 for a free one")
        raise HarnessError(f"the span receiver did not start: {hello.get('error', 'see the lines above')}")

    async def collect(self, call_sid: str, timeout_s: float) -> CollectedSpans:
        """Wait until the call's spans are whole, or `timeout_s` have passed; they are handed out once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_AGENT_TIMEOUT_S if self._sends_none else timeout_s):
                async with self._arrived:
                    await self._arrived.wait_for(lambda: not describe_missing(self._calls.get(call_sid, ())))
        spans = tuple(self._calls.pop(call_sid, ()))
        self._collected.add(call_sid)
        self._silent_calls = 0 if spans else self._silent_calls + 1
        return CollectedSpans(spans, describe_missing(spans) + self._why_none(spans))

    def current_spans(self, call_sid: str) -> tuple[Span, ...]:
        """The spans of a call that goes on, as far as they have come; `collect` will give them again."""
        return tuple(self._calls.get(call_sid, ()))

    def unused_span_notes(self) -> tuple[str, ...]:
        """What came and was not used, one line each; whole once the receiver has been stopped."""
        late = sum(len(spans) for call_sid, spans in self._calls.items() if call_sid in self._collected)
        strange = sum(len(spans) for call_sid, spans in self._calls.items() if call_sid not in self._collected)
        found = {
            "came after their call had been scored": late,
            "came twice, and count once": self.counts.get("duplicate", 0),
            "were of calls that are not this run's": strange,
            "came from another host or boot, whose clock is not ours": self.counts.get("other_boot", 0),
            "had no turngap attributes": self.counts.get("foreign", 0),
        }
        lines = [f"spans: {count} {text}" for text, count in found.items() if count]
        if self.counts.get("malformed"):
            lines.append(f"spans: {self.counts['malformed']} requests could not be read")
        return tuple(lines)

    async def stop(self) -> None:
        """End the process; what it had still to hand on is in its file."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 2.0)
        await child.stop(self._process, grace_s=1.0)
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            row = json.loads(line)
            if "counts" in row:
                self.counts = row["counts"]
            else:
                span = parse_row(row)
                self._calls[span.call_sid].append(span)
                self._heard_any = True
            async with self._arrived:
                self._arrived.notify_all()
            await asyncio.sleep(0)  # a burst of buffered lines must not hold up a caller's frame

    @property
    def _sends_none(self) -> bool:
        # A single late span takes it back: a short wait must not be what keeps calls silent.
        return not self._heard_any and self._silent_calls >= SILENT_CALLS

    def _why_none(self, spans: tuple[Span, ...]) -> str:
        if spans or not self.counts.get("other_boot"):
            return ""
        return " (spans came from another host or boot, whose clock is not ours)"


def parse_row(row: dict[str, Any]) -> Span:
    """A line of `spans.jsonl` as a span; lists become tuples."""
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


def describe_missing(spans: Iterable[Span]) -> str:
    """ "" when a call's spans are whole by their own counts, else one line that says what is not there."""
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
        got = sum((other.turn, other.attempt) == (turn, attempt) for other in inside)
        said = span.attributes.get(tracing.SPANS, 0)
        if isinstance(said, int) and got < said:
            return f"{got} of {plural(said, 'span')} of turn {turn}, attempt {attempt} arrived"
    return ""
