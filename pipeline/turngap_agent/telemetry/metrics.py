"""The agent's Prometheus metrics, and the event loop's lag."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from turngap_agent import clock
from turngap_agent.llm import KvCache
from turngap_agent.tracing import KV_CACHE_GAUGE, KV_RESERVED, KV_USED_PEAK, LAG_GAUGE, Stage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)


class CallResult(StrEnum):
    """How a stream that was opened to the agent ended up."""

    ANSWERED = "answered"
    BUSY = "busy"
    """There were too many calls."""
    UNSIGNED = "unsigned"
    """Twilio's signature or the nonce was missing or wrong."""
    FLOODED = "flooded"
    """Counted as answered before: it was closed because it sent faster than real time."""
    STALLED = "stalled"
    """Counted as answered before: its caller's side did not read what it was sent."""
    REFUSED = "refused"
    """It never became a call: no `start`, or a format other than μ-law at 8 kHz."""


class TurnResult(StrEnum):
    """How an attempt at a turn ended, from the agent's side."""

    REPLIED = "replied"
    INTERRUPTED = "interrupted"
    """The caller spoke while the reply was being sent."""
    CANCELLED = "cancelled"
    """The caller resumed before hearing anything."""
    EMPTY = "empty"
    """Nothing was understood: the agent waited, or asked the caller to repeat it."""
    FAILED = "failed"
    """An engine failed."""


class WorkUse(StrEnum):
    """What engines' work was used for."""

    HEARD = "heard"
    WASTED = "wasted"
    """It went into attempts that nobody heard."""


class LoopLag:
    """How late the event loop wakes its sleepers over the process's life, in steps of 0.1 ms up to 1 s."""

    PERIOD_S = 0.025
    _STEP_NS = 100_000

    def __init__(self) -> None:
        self._counts = np.zeros(10_001, np.int64)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            due_ns = clock.now_ns() + round(self.PERIOD_S * 1e9)
            await asyncio.sleep(self.PERIOD_S)
            self.add(clock.now_ns() - due_ns)

    def add(self, late_ns: int) -> None:
        """Add one sample."""
        self._counts[min(max(late_ns, 0) // self._STEP_NS, len(self._counts) - 1)] += 1

    def p99_s(self) -> float:
        """Return the 99th percentile (nearest rank) in seconds, rounded up to the step; NaN before the first sample."""
        total = int(self._counts.sum())
        if total == 0:
            return float("nan")
        rank = -(-total * 99 // 100)
        return float((int(np.searchsorted(np.cumsum(self._counts), rank)) + 1) * self._STEP_NS / 1e9)


class Metrics:
    """All metrics of an agent, in a registry of their own."""

    def __init__(
        self,
        lag: LoopLag,
        active: Callable[[], float],
        lost_spans: Callable[[], float],
        kv_cache: Callable[[], KvCache | None] = lambda: None,
    ) -> None:
        """The functions are called when the page is read; `kv_cache` returns None if it is unknown."""
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "turngap_calls", "Streams that were opened to the agent.", ["result"], registry=self._registry
        )
        self._turns = Counter("turngap_turns", "Attempts at a reply.", ["result"], registry=self._registry)
        self._ignored = Counter("turngap_protocol_faults", "Messages that were ignored.", registry=self._registry)
        self._stages = Histogram(
            "turngap_stage_seconds", "Time in a stage.", ["stage"], buckets=_BUCKETS_S, registry=self._registry
        )
        self._answers = Histogram(
            "turngap_answer_seconds",
            "From the arrival of the end of the caller's speech, as the agent finds it, to the first audio sent.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._work = Counter(
            "turngap_engine_seconds", "Work of the engines, by what it was used for.", ["use"], registry=self._registry
        )
        self._faults = Counter(
            "turngap_engine_faults", "What engines did wrong.", ["stage", "kind"], registry=self._registry
        )
        self._replaced = Counter(
            "turngap_engine_replacements",
            "Engines that were stuck, by whether a fresh one took their place.",
            ["stage", "result"],
            registry=self._registry,
        )
        self._blocked = Counter(
            "turngap_event_loop_standstills",
            "How often the event loop stood still for deadlines.loop_ms.",
            registry=self._registry,
        )
        gauges = (
            (LAG_GAUGE, "Lateness of the event loop's sleepers since the start.", lag.p99_s),
            ("turngap_active_calls", "Calls now.", active),
            ("turngap_tasks", "Tasks of the event loop now; as many after a call as before it.", _count_tasks),
            ("turngap_lost_spans", "Spans the OTLP receiver did not take.", lost_spans),
        )
        for name, text, read in gauges:
            Gauge(name, text, registry=self._registry).set_function(read)
        kv_gauge = Gauge(
            KV_CACHE_GAUGE,
            "Memory that the language model reserves for keys and values; NaN: unknown.",
            ["figure"],
            registry=self._registry,
        )
        kv_gauge.labels(KV_RESERVED).set_function(lambda: _bytes(kv_cache(), "reserved_mib"))
        kv_gauge.labels(KV_USED_PEAK).set_function(lambda: _bytes(kv_cache(), "used_peak_mib"))
        for result in CallResult:
            self._calls.labels(result.value)
        for outcome in TurnResult:
            self._turns.labels(outcome.value)
        for use in WorkUse:
            self._work.labels(use.value)

    def count_call(self, result: CallResult) -> None:
        """Count a stream."""
        self._calls.labels(result.value).inc()

    def count_turn(self, result: TurnResult, stages: list[tuple[Stage, int]]) -> None:
        """Count an attempt and its stages' nanoseconds."""
        self._turns.labels(result.value).inc()
        for stage, nanoseconds in stages:
            self._stages.labels(stage.value).observe(nanoseconds / 1e9)

    def count_answer(self, nanoseconds: int) -> None:
        """Count how long a caller waited for an answer that was sent."""
        self._answers.observe(nanoseconds / 1e9)

    def count_work(self, use: WorkUse, milliseconds: float) -> None:
        """Count the work that engines did for an attempt, after all of it has stopped."""
        self._work.labels(use.value).inc(milliseconds / 1000)

    def count_fault(self, stage: str, kind: str) -> None:
        """Count a fault of the engine of that stage."""
        self._faults.labels(stage, kind).inc()

    def count_replacement(self, stage: str, result: str) -> None:
        """Count an engine that was replaced, or could not be."""
        self._replaced.labels(stage, result).inc()

    def count_block(self) -> None:
        """Count a time for which the event loop stood still."""
        self._blocked.inc()

    def count_ignored(self) -> None:
        """Count a message that was ignored."""
        self._ignored.inc()

    def exposition(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


def _count_tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # the page is read outside of the loop
        return float("nan")


def _bytes(cache: KvCache | None, figure: str) -> float:
    return float("nan") if cache is None else float(getattr(cache, figure)) * (1 << 20)
