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


class LabelIntervals(FrozenModel):
    """The intervals of a latency with its labels' uncertainty, ms; null: too few turns for one.

    From the lower end if every t0 lay as late as its label allows to the upper end if every t0 lay as early: labels err
    in one direction, so that nothing of it is averaged away.
    """

    p50_low: float | None
    p50_high: float | None
    p95_low: float | None
    p95_high: float | None
    low_ms: float
    """The median of what t0 may lie later ..."""
    high_ms: float
    """... and earlier (negative)."""
    by_hand: int
    """Turns whose end a person has labelled, ..."""
    by_floor: int
    by_alignment: int = 0
    """... and those whose end was found relative to the noise floor."""


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
    with_labels: LabelIntervals | None = None
    """The same with the uncertainty of the ends of speech; None in older runs, and where no label has any."""


class IntervalFigures(FrozenModel):
    """What is known of the agent, whatever the verdict."""

    success: ShareInterval
    """Of the turns that need an answer, those answered as they should be."""
    over: tuple[OverLimit, ...]
    """One for each limit on the time of an answer; () without a budget."""
    answered: tuple[AnsweredLatency, ...]
