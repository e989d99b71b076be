"""Shares and latencies of a run with their intervals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from turngap.model.budget import Budget
from turngap.model.intervals import AnsweredLatency, IntervalFigures, LabelIntervals, OverLimit, ShareInterval
from turngap.model.records import LabelSource
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
        with_labels=_widen_by_labels(values, good),
    )


def _widen_by_labels(values: Sequence[float], good: Sequence[TurnRecord]) -> LabelIntervals | None:
    """Return the intervals of a latency that is counted from t0 if all labels lie at one edge or at the other."""
    if all(turn.label_low_ms <= 0 <= turn.label_high_ms for turn in good):
        return None
    # A t0 that lies later makes a gap shorter.
    short = [value - max(0.0, turn.label_low_ms) for value, turn in zip(values, good, strict=True)]
    long = [value - min(0.0, turn.label_high_ms) for value, turn in zip(values, good, strict=True)]
    sources = Counter(turn.label_source for turn in good)
    return LabelIntervals(
        p50_low=stats.quantile_interval(short, 0.5)[0],
        p50_high=stats.quantile_interval(long, 0.5)[1],
        p95_low=stats.quantile_interval(short, 0.95)[0],
        p95_high=stats.quantile_interval(long, 0.95)[1],
        low_ms=float(np.median([turn.label_low_ms for turn in good])),
        high_ms=float(np.median([turn.label_high_ms for turn in good])),
        by_hand=sources[LabelSource.HAND],
        by_floor=sources[LabelSource.FLOOR],
        by_alignment=sources[LabelSource.ALIGNED],
    )
