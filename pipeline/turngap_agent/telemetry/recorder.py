"""What a call records of its own times, as the spans of `turngap_agent.tracing`.

A running turn costs a few tuples; spans are made of them when the call is over (and sent by `export`). Only the spans
of clauses are sent at once: a caller listens until it has heard content, and they say when that was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from turngap_agent import clock, tracing
from turngap_agent.meter import Meter
from turngap_agent.tracing import AttributeValue, Span, Stage

NO_TURN = -1
"""The turn and attempt of the call span, which belongs to none."""


class TraceSink(Protocol):
    """Where a finished call's spans go."""

    def put(self, traces: list[Trace]) -> None:
        """Take them; return at once."""
        ...


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one attempt, its turn span first: one OpenTelemetry trace."""

    trace_id: int
    span_id: int
    """The id of the first span, the parent of the others."""
    spans: tuple[Span, ...]
    parent_id: int = 0
    """The id of the first span's own parent, which is sent later; 0: it has none."""


class AttemptNotes:
    """One attempt's times and facts, from the decision that started it. Turns count from 0, attempts from 1."""

    def __init__(
        self,
        call_sid: str,
        turn: int,
        attempt: int,
        started_ns: int,
        on_end: Callable[[AttemptNotes], object] | None = None,
        sink: TraceSink | None = None,
    ) -> None:
        """`on_end` is called once at the end; `sink` takes each clause's span at once, otherwise `trace` has them."""
        self.call_sid, self.turn, self.attempt = call_sid, turn, attempt
        self.trace_id = secrets.randbits(128) or 1
        self.span_id = secrets.randbits(64) or 1
        self.started_ns = started_ns
        self._on_end = on_end
        self._sink = sink
        self.meter = Meter()
        """The work of engines for the attempt."""
        self._ended_ns: int | None = None
        self._stages: list[tuple[str, int, int]] = []
        self._clauses: list[Span] = []
        self._facts: dict[str, AttributeValue] = {}

    @property
    def traceparent(self) -> str:
        """W3C trace context of the attempt, for engines behind HTTP."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"

    @property
    def heard(self) -> bool:
        """Whether any of its audio was handed to the socket."""
        return bool(self._facts.get(tracing.HEARD))

    @property
    def stages(self) -> list[tuple[Stage, int]]:
        """The stages noted so far, with their durations in nanoseconds."""
        known = {tracing.SPAN_PREFIX + stage: stage for stage in tracing.AGENT_STAGES}
        return [(known[name], end - start) for name, start, end in self._stages if name in known]

    def start_of(self, stage: Stage) -> int | None:
        """Return when the stage began, the last time if it did several times; None if it did not."""
        name = tracing.SPAN_PREFIX + stage
        return next((start for known, start, _ in reversed(self._stages) if known == name), None)

    def stage(self, stage: Stage, start_ns: int, end_ns: int) -> None:
        """Note that a stage took from `start_ns` to `end_ns`."""
        self._stages.append((tracing.SPAN_PREFIX + stage, start_ns, end_ns))

    def detail(self, name: str, start_ns: int, end_ns: int) -> None:
        """Note a span beside the stages."""
        self._stages.append((name, start_ns, end_ns))

    def clause(self, text: str, first_sample: int, samples: int, start_ns: int, end_ns: int) -> None:
        """Note a clause whose audio was sent: from sample `first_sample` of the attempt's on."""
        facts: dict[str, AttributeValue] = {
            tracing.CLAUSE_TEXT: text,
            tracing.CLAUSE_FIRST_SAMPLE: first_sample,
            tracing.CLAUSE_SAMPLES: samples,
        }
        span = self._span(tracing.CLAUSE_SPAN, start_ns, end_ns, facts)
        self._clauses.append(span)
        if self._sink is not None:
            self._sink.put([Trace(self.trace_id, secrets.randbits(64) or 1, (span,), parent_id=self.span_id)])

    def fact(self, name: str, value: AttributeValue) -> None:
        """Note an attribute of the turn span; the last value counts."""
        self._facts[name] = value

    def moment(self, name: str, at_ns: int) -> None:
        """Add a time to an attribute of the turn span that lists all times of an event."""
        earlier = self._facts.get(name)
        self._facts[name] = (*(earlier if isinstance(earlier, tuple) else ()), at_ns)

    def end(self, now_ns: int) -> None:
        """Note the end of the attempt; only the first call counts."""
        if self._ended_ns is None:
            self._ended_ns = now_ns
            if self._on_end is not None:
                self._on_end(self)

    def trace(self) -> Trace:
        """Return the attempt as spans, the turn span first."""
        ended_ns = self._ended_ns if self._ended_ns is not None else clock.now_ns()
        facts = {
            **self._facts,
            tracing.COMPUTE_MS: round(self.meter.busy_ms, 1),
            tracing.SPANS: 1 + len(self._stages) + len(self._clauses),
        }
        started_ns = min([self.started_ns, *(start for _, start, _ in self._stages)])
        spans = [self._span(tracing.TURN_SPAN, started_ns, ended_ns, facts)]
        spans += [self._span(name, start, end, {}) for name, start, end in self._stages]
        spans += self._clauses if self._sink is None else []
        return Trace(self.trace_id, self.span_id, tuple(spans))

    def _span(self, name: str, start_ns: int, end_ns: int, facts: Mapping[str, AttributeValue]) -> Span:
        return Span(name, start_ns, end_ns, self.call_sid, self.turn, self.attempt, dict(facts))


@dataclass(slots=True)
class CallNotes:
    """One call's times: its attempts in the order they started."""

    call_sid: str
    started_ns: int
    live: TraceSink | None = None
    """Takes each attempt's trace as it ends, with the facts so far; None: all traces are sent at the call's end."""
    clauses: TraceSink | None = None
    """Takes the span of each clause as soon as the clause was sent."""
    attempts: list[AttemptNotes] = field(default_factory=list)
    _handed_over: list[AttemptNotes] = field(default_factory=list)

    def attempt(self, turn: int, attempt: int, started_ns: int) -> AttemptNotes:
        """Return the notes of a new attempt."""
        on_end = self._hand_over if self.live is not None else None
        notes = AttemptNotes(self.call_sid, turn, attempt, started_ns, on_end, self.clauses)
        self.attempts.append(notes)
        return notes

    def traces(self, ended_ns: int) -> list[Trace]:
        """Return the traces of the call that were not handed over before; the last one is the call span alone."""
        facts: dict[str, AttributeValue] = {tracing.ATTEMPTS: len(self.attempts)}
        span = Span(tracing.CALL_SPAN, self.started_ns, ended_ns, self.call_sid, NO_TURN, NO_TURN, facts)
        call = Trace(secrets.randbits(128) or 1, secrets.randbits(64) or 1, (span,))
        return [*(notes.trace() for notes in self.attempts if notes not in self._handed_over), call]

    def _hand_over(self, notes: AttemptNotes) -> None:
        assert self.live is not None
        self._handed_over.append(notes)
        self.live.put([notes.trace()])
