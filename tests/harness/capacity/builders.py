"""Plausible points and records of capacity runs, for tests that judge or render them."""

from __future__ import annotations

from typing import Any

from turngap.capacity import shapes
from turngap.capacity.folder import CapacityRecord
from turngap.capacity.knee import find_knee
from turngap.capacity.points import CallerFigures, Decision, PointRecord, UnderWay
from turngap.model.figures import LatencyFigures
from turngap.model.result import Verdict
from turngap.model.turn import Outcome
from turngap.verdict import budget as budgets


def latency(p95: float | None, p50: float | None = 400.0) -> LatencyFigures:
    """Figures of 60 turns."""
    upper = None if p95 is None else p95 * 1.1
    return LatencyFigures(n=60, p50=p50, p95=p95, p95_upper=upper, p99=None, max=upper)


def caller(**changes: Any) -> CallerFigures:
    """A caller that kept up."""
    figures = CallerFigures(
        valid=True,
        send_p99_ms=0.4,
        receive_p99_ms=0.6,
        start_p99_ms=0.9,
        sentinel_answers=40,
        sentinel_p99_ms=1.4,
        sentinel_over_share=0.0,
        processes=1,
        busiest_core_share=0.2,
        cpu_s=12.0,
    )
    return figures.model_copy(update=changes)


def point(calls: int, p95: float | None = 450.0, *, answered_per_s: float | None = None, **changes: Any) -> PointRecord:
    """A point of so many calls at once."""
    record = PointRecord(
        name=f"{calls} calls at once",
        slug=f"{calls}-calls",
        calls=calls,
        rate_per_s=None,
        call_s=4.0,
        decision=Decision.MEASURED,
        verdict=Verdict.MEASURED,
        sentence="Not judged.",
        n_turns=60,
        planned_turns=60,
        outcomes={Outcome.ANSWERED: 60},
        refused=0,
        calls_placed=60,
        gap_ms=latency(p95),
        from_t0_ms=latency(p95),
        start_delay_ms=latency(4.0, 2.0),
        first_turn_ms=900.0,
        before_load_ms=latency(460.0),
        under_way=UnderWay(mean=calls * 0.95, peak=calls),
        arrivals_per_s=calls / 4.0,
        answered_per_s=calls / 4.0 if answered_per_s is None else answered_per_s,
        call_length_s=4.0,
        caller=caller(),
    )
    return record.model_copy(update=changes)


def record(*points: PointRecord, **changes: Any) -> CapacityRecord:
    """A capacity run with those points."""
    budget = budgets.load_budget("edge500")
    made = CapacityRecord(
        capacity_id="20260711T101500Z-capacity-gate-cpu",
        started="2026-07-11T10:15:00+00:00",
        complete=True,
        scenario="gate",
        scenario_path="scenarios/gate.scenario.yaml",
        scenario_sha256="5f" * 32,
        profile="cpu",
        seed=1,
        turns=None,
        budget=budget,
        judged=True,
        metric="turn_gap_ms",
        budget_ms=500.0,
        shape=shapes.load_shape("steady"),
        loads=tuple(point.load for point in points),
        by_rate=False,
        searches=False,
        machine={"host": "one", "cpu": "A <processor>", "cores": 2, "memory_mib": 4096},
        points=points,
        knee=find_knee(points),
        sentence="edge500 holds up to 2 calls at once.",
    )
    return made.model_copy(update=changes)
