"""Figures with their intervals, beside the verdict: how often turns are over a limit, or succeed, and how fast."""

from __future__ import annotations

from turngap_agent.documents import FrozenModel


class ShareInterval(FrozenModel):
    """A share of turns with its exact two-sided 95 % interval (Clopper-Pearson)."""

    events: int
    n: int
    low: float
    high: float


class OverLimit(ShareInterval):
    """The share of turns over one limit on a latency."""

    metric: str
    at_most: float


class AnsweredLatency(FrozenModel):
    """A latency of the answered turns alone, ms, with exact two-sided 95 % intervals; null: too few turns for one."""

    metric: str
    n: int
    p50: float | None
    p50_low: float | None
    p50_high: float | None
    p95: float | None
    p95_low: float | None
    p95_high: float | None


class IntervalFigures(FrozenModel):
    """What is known of the agent, whatever the verdict."""

    success: ShareInterval
    """Of the turns that need an answer, those answered as they should be."""
    over: tuple[OverLimit, ...]
    """One for each limit on the time of an answer; () without a budget."""
    answered: tuple[AnsweredLatency, ...]
