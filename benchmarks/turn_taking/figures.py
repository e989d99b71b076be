"""Cut-offs and delays of many turns as figures with their intervals; pure.

Turns and pauses of one speaker are not independent trials: the interval on their share is the exact one
(Clopper-Pearson) for the effective number of them, after Korn and Graubard, *Confidence intervals for proportions with
small expected number of positive counts estimated from survey data* (1998): the number divided by the design effect of
the speakers, and by what it costs that so few speakers leave that effect uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from turngap.verdict.stats import percentile

from benchmarks.turn_taking.decisions import TurnOutcome

LEAST_HOLD_MS = 200
"""Pauses from this length on count, as in eot-bench."""
CLASSES_MS = ((200, 400), (400, 600), (600, 1000), (1000, None))


@dataclass(frozen=True, slots=True)
class Share:
    """Events among trials, with a 95 % interval."""

    events: int
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BargainFigures:
    """One policy on one corpus."""

    policy: str
    corpus: str
    ends: int
    """Turns that are over."""
    never: int
    """How many of those were never confirmed."""
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    """Delay after the true end: the mean of those that were confirmed; to the percentiles an end that never was is
    later than any, since leaving it out would flatter whoever waits longest. An end that was taken too soon, and so not
    again, is a cut-off and has no delay."""
    turns_cut: Share
    pauses_cut: Share
    by_length: tuple[tuple[str, int, int], ...]
    """Class of pauses, cut-offs, pauses."""
    attempts: float
    """Provisional ends a turn."""


def make_figures(policy: str, corpus: str, outcomes: Sequence[TurnOutcome]) -> BargainFigures:
    """Return the figures of a policy's outcomes on one corpus."""
    over = [outcome for outcome in outcomes if outcome.over]
    delays = [outcome.delay_ms for outcome in over if outcome.delay_ms is not None]
    waited = [outcome.delay_ms for outcome in over if outcome.delay_ms is not None or not outcome.cut_off]
    held = [(one.speaker, pause) for one in outcomes for pause in one.pauses if pause.length_ms >= LEAST_HOLD_MS]
    by_length = []
    for low, high in CLASSES_MS:
        of = [pause for _, pause in held if low <= pause.length_ms and (high is None or pause.length_ms < high)]
        by_length.append((f"{low}-{high}" if high else f"{low}+", sum(pause.cut_off for pause in of), len(of)))
    return BargainFigures(
        policy=policy,
        corpus=corpus,
        ends=len(over),
        never=len(over) - len(delays),
        mean_ms=float(np.mean(delays)) if delays else None,
        p50_ms=percentile(waited, 0.5),
        p95_ms=percentile(waited, 0.95),
        turns_cut=clustered_share([(outcome.speaker, outcome.cut_off) for outcome in outcomes]),
        pauses_cut=clustered_share([(speaker, pause.cut_off) for speaker, pause in held]),
        by_length=tuple(by_length),
        attempts=sum(outcome.attempts for outcome in outcomes) / len(outcomes) if outcomes else 0.0,
    )


def clustered_share(trials: Sequence[tuple[str, bool]]) -> Share:
    """Return the share of events among trials, each with its cluster's name, and its 95 % interval.

    Without an event, or with nothing but events, the design effect is not known, and each cluster counts once. Of one
    cluster alone it is not known either: its trials count as independent, and the interval is about that speaker.
    """
    n, events = len(trials), sum(event for _, event in trials)
    clusters = sorted({name for name, _ in trials})
    if not 0 < events < n or len(clusters) < 2:
        effective = float(min(n, len(clusters)) if len(clusters) > 1 else n)
    else:
        rate = events / n
        residuals = [sum(event - rate for name, event in trials if name == cluster) for cluster in clusters]
        variance = len(clusters) / (len(clusters) - 1) * float(np.square(residuals).sum()) / n**2
        effect = max(1.0, variance / (rate * (1 - rate) / n))
        # Korn and Graubard's factor for the degrees of freedom of the variance, one less than the clusters.
        known, estimated = (float(stats.t.ppf(0.975, freedom)) for freedom in (n - 1, len(clusters) - 1))
        effective = n / effect * (known / estimated) ** 2
    return Share(events, n, *_exact_interval(events / n if n else 0.0, effective))


def _exact_interval(rate: float, n: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval for a rate of `n` trials, which need not be a whole number."""
    if n <= 0:
        return 0.0, 1.0
    events = rate * n
    low = float(stats.beta.ppf(0.025, events, n - events + 1)) if events > 0 else 0.0
    return low, float(stats.beta.ppf(0.975, events + 1, n - events)) if events < n else 1.0
