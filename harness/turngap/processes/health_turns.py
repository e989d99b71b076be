"""Joins what held the agent's process up with the turns that it fell in, by the one monotonic clock. Pure.

A turn's window is from the end of the caller's speech to the answer; without one, 2 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from turngap.clock import NS_PER_MS
from turngap.model.health import HealthFigures, LoopBlock, TurnHealth
from turngap.model.turn import TurnRecord
from turngap.processes.gpu_log import UNANSWERED_MS
from turngap.processes.health_log import HealthSamples, LoopEvent

MOST_BLOCKS = 5
LEAST_STOLEN_MS = 10.0
"""The unit of the kernel's account of stolen time."""


def add_health(
    turns: Sequence[TurnRecord], boot_id: str, samples: HealthSamples, events: Sequence[LoopEvent] | None
) -> tuple[TurnRecord, ...]:
    """Return the turns of that boot with their health, others unchanged. `events`: None, the agent was not watched."""
    if samples.empty and events is None:
        return tuple(turns)
    return tuple(
        turn.model_copy(update={"health": _health(turn, samples, events)})
        if turn.boot_id == boot_id and turn.health is None
        else turn
        for turn in turns
    )


def summarise_health(turns: Sequence[TurnRecord], not_readable: Mapping[str, str]) -> HealthFigures | None:
    """Return the figures of the scored turns; None if none was watched."""
    healths = [turn.health for turn in turns if turn.scored and turn.health is not None]
    if not healths:
        return None
    blocks = [block for health in healths for block in health.blocks]
    longest = max(blocks, key=lambda block: block.length_ms, default=None)
    return HealthFigures(
        turns=len(healths),
        blocked_turns=sum(bool(health.blocks) for health in healths),
        longest_block_ms=longest.length_ms if longest is not None else None,
        longest_block_in=longest.stack[-1] if longest is not None and longest.stack else "",
        interpreter_turns=sum(health.interpreter_wait_ms > 0 for health in healths),
        queued_p95_ms=_p95([health.queued_ms for health in healths]),
        loop_queued_p95_ms=_p95([health.loop_queued_ms for health in healths]),
        major_fault_turns=sum((health.major_faults or 0) >= 1 for health in healths),
        throttled_turns=sum((health.throttled_ms or 0) > 0 for health in healths),
        stolen_turns=sum((health.stolen_ms or 0) >= LEAST_STOLEN_MS for health in healths),
        not_readable=dict(not_readable),
    )


def find_window_ns(turn: TurnRecord) -> tuple[int, int]:
    """Return the turn's window, ns on the host's monotonic clock."""
    return turn.t0_ns, turn.t1_ns if turn.t1_ns is not None else turn.t0_ns + UNANSWERED_MS * NS_PER_MS


def _health(turn: TurnRecord, samples: HealthSamples, events: Sequence[LoopEvent] | None) -> TurnHealth:
    begin_ns, end_ns = find_window_ns(turn)
    inside = [event for event in events or () if event.start_ns < end_ns and event.end_ns > begin_ns]
    loop = sorted((event for event in inside if event.kind == "loop"), key=lambda event: event.start_ns - event.end_ns)
    waits = [event.end_ns - event.start_ns for event in inside if event.kind == "interpreter"]

    def measure_growth(column: str, scale: float = 1.0) -> float | None:
        value = samples.measure_growth(column, begin_ns / 1e9, end_ns / 1e9)
        return None if value is None else round(value * scale, 3)

    return TurnHealth(
        blocks=tuple(
            LoopBlock(
                start_ms=round((event.start_ns - turn.t0_ns) / NS_PER_MS, 3),
                length_ms=round((event.end_ns - event.start_ns) / NS_PER_MS, 3),
                ran_ms=event.ran_ms,
                queued_ms=event.queued_ms,
                stack=event.stack,
            )
            for event in loop[:MOST_BLOCKS]
        ),
        loop_blocked_ms=round(
            sum(min(event.end_ns, end_ns) - max(event.start_ns, begin_ns) for event in loop) / NS_PER_MS, 3
        ),
        interpreter_wait_ms=round(max(waits, default=0) / NS_PER_MS, 3),
        queued_ms=measure_growth("queued_s", 1e3),
        loop_queued_ms=measure_growth("loop_queued_s", 1e3),
        major_faults=measure_growth("major_faults"),
        minor_faults=measure_growth("minor_faults"),
        throttled_ms=measure_growth("throttled_s", 1e3),
        stolen_ms=measure_growth("stolen_s", 1e3),
    )


def _p95(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.percentile(known, 95)) if known else None
