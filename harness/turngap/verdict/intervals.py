"""Shares and latencies of a run with their intervals. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.budget import Budget
from turngap.model.intervals import AnsweredLatency, IntervalFigures, OverLimit, ShareInterval
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import measures, stats
from turngap.verdict.counts import Count, count_misses


def compute_intervals(turns: Sequence[TurnRecord], budget: Budget | None) -> IntervalFigures | None:
    """Return the intervals over the valid turns that need an answer; None if there are none."""
    valid = [
        turn for turn in turns if turn.scored and turn.expectation.needs_answer and turn.outcome is not Outcome.INVALID
    ]
    if not valid:
        return None
    good = [turn for turn in valid if turn.is_good]
    over = []
    latencies = ["turn_gap_ms", "perceived_gap_ms"]
    for limit in () if budget is None else budget.limits:
        if not limit.is_latency or limit.metric in measures.REACTIONS_BY_METRIC:
            continue
        count = count_misses(limit, valid)
        if isinstance(count, Count):
            low, high = stats.rate_interval(count.misses, count.turns)
            over.append(
                OverLimit(
                    metric=limit.metric, at_most=limit.at_most, events=count.misses, n=count.turns, low=low, high=high
                )
            )
            if limit.stage is None and limit.metric not in latencies:
                latencies.append(limit.metric)
    low, high = stats.rate_interval(len(good), len(valid))
    return IntervalFigures(
        success=ShareInterval(events=len(good), n=len(valid), low=low, high=high),
        over=tuple(over),
        answered=tuple(_answered(metric, good) for metric in latencies) if good else (),
    )


def _answered(metric: str, good: Sequence[TurnRecord]) -> AnsweredLatency:
    values = [getattr(turn, metric) for turn in good]
    p50_low, p50_high = stats.quantile_interval(values, 0.5)
    p95_low, p95_high = stats.quantile_interval(values, 0.95)
    return AnsweredLatency(
        metric=metric,
        n=len(values),
        p50=stats.percentile(values, 0.5),
        p50_low=p50_low,
        p50_high=p50_high,
        p95=stats.percentile(values, 0.95),
        p95_low=p95_low,
        p95_high=p95_high,
    )
