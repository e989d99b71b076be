"""Exact, distribution-free statistics of turns: percentiles, bounds on quantiles and rates, drift.

Pure. A turn with no answer is None and counts as later than any other; nan is refused, because `nan > budget` is False
and a gate that uses it would pass. Formulas: order-statistic bounds (Conover, *Practical Nonparametric Statistics*,
3.2; the same as `scipy.stats.quantile_test`), Clopper-Pearson for rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from turngap.model.figures import LatencyFigures, Rate

Values = Sequence[float | None]
"""Milliseconds (or any unit), None for a turn with no answer."""
Floats = npt.NDArray[np.float64]

Q = 0.95
CONFIDENCE = 0.95
P99_FROM = 299
"""The first n at which 99/95 can pass at all; p99 of fewer turns is not printed."""


def percentile(values: Values, q: float) -> float | None:
    """Return the q-quantile (0 ≤ q ≤ 1), linear between order statistics; None for no values or among unanswered turns.

    Raises:
        ValueError: a value is nan.
    """
    ranked = sort_values(values)
    if not len(ranked):
        return None
    place = q * (len(ranked) - 1)
    # 0.95 * 20 is a hair under 19: without rounding the place it would lean on its neighbour.
    place = round(place, 9)
    low, high = math.floor(place), math.ceil(place)
    if math.isinf(ranked[high]):
        return None
    return float(ranked[low] + (ranked[high] - ranked[low]) * (place - low))


def quantile_upper(values: Values, q: float = Q, c: float = CONFIDENCE) -> float | None:
    """Return the exact one-sided upper bound at confidence c on the q-quantile: k-th smallest, k = ppf(c, n, q) + 1.

    None if n is too small for it (k > n), or if it falls among unanswered turns: no bound never means a pass.

    Raises:
        ValueError: a value is nan.
    """
    ranked = sort_values(values)
    k = int(stats.binom.ppf(c, len(ranked), q)) + 1 if len(ranked) else 1
    return None if k > len(ranked) or math.isinf(ranked[k - 1]) else float(ranked[k - 1])


def quantile_interval(values: Values, q: float, c: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Return the exact two-sided interval at confidence c for the q-quantile, (1 - c) / 2 on either side.

    A side is None if n is too small for it, or if it falls among unanswered turns.

    Raises:
        ValueError: a value is nan.
    """
    ranked = sort_values(values)
    k = int(stats.binom.ppf((1 - c) / 2, len(ranked), q)) if len(ranked) else 0
    low = None if k < 1 or math.isinf(ranked[k - 1]) else float(ranked[k - 1])
    return low, quantile_upper(values, q, (1 + c) / 2)


def shows_quantile(misses: int, n: int, q: float = Q, c: float = CONFIDENCE) -> bool:
    """Return whether n turns with `misses` over budget show, at confidence c, that the q-quantile is within the budget.

    The same as `quantile_upper(values) <= budget`.

    Raises:
        ValueError: not 0 ≤ misses ≤ n.
    """
    if not 0 <= misses <= n:
        raise ValueError(f"{misses} misses among {n} turns")
    return n > 0 and bool(stats.binom.cdf(misses, n, 1 - q) <= 1 - c)


def misses_allowed(n: int, q: float = Q, c: float = CONFIDENCE) -> int | None:
    """Return the most turns over budget with which n turns still pass; None if n is too small to pass at all."""
    if n < 1:
        return None
    least = int(stats.binom.ppf(1 - c, n, 1 - q))  # the first t with cdf >= 1 - c: one less passes
    for misses in (least, least - 1):
        if misses >= 0 and shows_quantile(misses, n, q, c):
            return misses
    return None


def n_needed(misses: int = 0, q: float = Q, c: float = CONFIDENCE) -> int:
    """Return the fewest turns that pass with `misses` of them over budget: 59, 93, 124, 153, 181, ... at 95/95.

    Raises:
        ValueError: `misses` is negative, or q or c is not between 0 and 1.
    """
    if misses < 0 or not (0 < q < 1 and 0 < c < 1):
        raise ValueError(f"misses {misses}, q {q}, c {c}")
    high = misses + 1
    while not shows_quantile(misses, high, q, c):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if middle > misses and shows_quantile(misses, middle, q, c):
            high = middle
        else:
            low = middle
    return high


def rate_upper(events: int, n: int, c: float = CONFIDENCE) -> float | None:
    """Return the one-sided Clopper-Pearson upper bound on a rate; None without turns.

    Raises:
        ValueError: not 0 ≤ events ≤ n.
    """
    if not 0 <= events <= n:
        raise ValueError(f"{events} events among {n} turns")
    if n == 0:
        return None
    return 1.0 if events == n else float(stats.beta.ppf(c, events + 1, n - events))


def rate_interval(events: int, n: int, c: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval at confidence c for a rate; (0, 1) without turns.

    Raises:
        ValueError: not 0 ≤ events ≤ n.
    """
    if not 0 <= events <= n:
        raise ValueError(f"{events} events among {n} turns")
    tail = (1 - c) / 2
    low = float(stats.beta.ppf(tail, events, n - events + 1)) if events else 0.0
    return low, float(stats.beta.ppf(1 - tail, events + 1, n - events)) if events < n else 1.0


def rate(events: int, n: int) -> Rate:
    """Return a rate with its bound.

    Raises:
        ValueError: not 0 ≤ events ≤ n.
    """
    return Rate(events=events, n=n, rate=events / n if n else None, upper=rate_upper(events, n))


def ratio_upper(parts: Sequence[int], wholes: Sequence[int], c: float = CONFIDENCE, resamples: int = 4000) -> float:
    """Return the upper bound at confidence c on sum(parts) / sum(wholes), such as a word error rate.

    Percentile bootstrap over utterances (errors of one utterance are not independent), seeded; and, because a
    bootstrap of no events is 0, never under the exact bound for the same events in as many single trials.

    Raises:
        ValueError: lengths differ, or there is nothing to divide by.
    """
    part, whole = np.asarray(parts, dtype=np.int64), np.asarray(wholes, dtype=np.int64)
    if part.shape != whole.shape or whole.sum() <= 0:
        raise ValueError(f"{part.sum()} of {whole.sum()} over {part.shape} and {whole.shape} utterances")
    rows = np.random.default_rng(0).integers(0, len(part), size=(resamples, len(part)))
    ratios = part[rows].sum(axis=1) / np.maximum(whole[rows].sum(axis=1), 1)
    exact = rate_upper(min(int(part.sum()), int(whole.sum())), int(whole.sum()), c)
    return max(float(np.quantile(ratios, c)), exact or 0.0)


def latency_figures(values: Values) -> LatencyFigures:
    """Return the latency figures of `values`; p99 only for 299 or more.

    Raises:
        ValueError: a value is nan.
    """
    ranked = sort_values(values)
    return LatencyFigures(
        n=len(ranked),
        p50=percentile(values, 0.5),
        p95=percentile(values, 0.95),
        p95_upper=quantile_upper(values),
        p99=percentile(values, 0.99) if len(ranked) >= P99_FROM else None,
        max=percentile(values, 1.0),
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of a run: whether its turns became slower or faster."""

    n: int
    change_ms: float
    """Theil-Sen slope over the whole run, with its 95 % interval below."""
    low_ms: float
    high_ms: float
    p_value: float
    """Kendall's τ of gap against order."""
    drifting: bool


def measure_drift(values: Values, *, alpha: float = 0.01, least: float = 0.05) -> Drift | None:
    """Return the drift of values in the order of the run, over answered turns; None for fewer than 8 of them.

    It is drift if τ is significant at `alpha` and the change is more than `least` of the median: with many turns even a
    negligible change is significant.

    Raises:
        ValueError: a value is nan.
    """
    sort_values(values)
    points = [(place, value) for place, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(points) < 8:
        return None
    at, ms = (np.asarray(column, dtype=np.float64) for column in zip(*points, strict=True))
    if np.all(ms == ms[0]):
        return Drift(len(points), 0.0, 0.0, 0.0, 1.0, drifting=False)
    slope, _, low, high = (float(value) for value in stats.theilslopes(ms, at, alpha=0.95))
    p_value = float(stats.kendalltau(at, ms).pvalue)
    length = float(at[-1] - at[0])
    moved = abs(slope * length) > least * abs(float(np.median(ms)))
    return Drift(len(points), slope * length, low * length, high * length, p_value, p_value < alpha and moved)


def sort_values(values: Values) -> Floats:
    """Return the values in ascending order, unanswered turns as +inf at the end."""
    ranked = np.sort(np.asarray([math.inf if value is None else value for value in values], dtype=np.float64))
    if np.isnan(ranked).any():
        raise ValueError("nan is no latency: a turn with no answer is None")
    return ranked
