"""Two medians of a latency: the change with its exact interval, and whether it exceeds the tolerance. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from turngap.verdict.comparison import exact
from turngap.verdict.comparison.exact import NOTHING, Tail
from turngap.verdict.comparison.findings import ALPHA, Change, MedianChange, is_within
from turngap.verdict.stats import Floats, Values, sort_values

LEAST_PAIRS = 7
"""With fewer no p-value is under 0.01: six pairs that all became slower have 1/64."""
TOLERANCE = 0.05
"""Of the base's median: a change of the centre by less counts as none."""


def default_tolerance_ms(base: Values, least_ms: float = 0.0) -> float:
    """Return what counts as no change: 5 % of the base's median, but at least `least_ms`.

    Of the largest value that was answered, if the median falls among unanswered turns.
    """
    values = to_array(base)
    return max(least_ms, TOLERANCE * finite_or_largest(quantile(values, 0.5), values))


def compare_medians(
    head: Values, base: Values, *, paired: bool, tolerance_ms: float | None = None, alpha: float = ALPHA
) -> MedianChange:
    """Compare the medians of two runs by themselves; the tolerance is the default one where none is given.

    Raises:
        ValueError: a value is nan, a run has no turns, or there are not as many on both sides although they are pairs.
    """
    new, old = to_array(head), to_array(base)
    if not len(new) or not len(old):
        raise ValueError("a comparison needs turns on both sides")
    if paired and len(new) != len(old):
        raise ValueError(f"{len(new)} and {len(old)} turns are no pairs")
    shift_ms = default_tolerance_ms(base) if tolerance_ms is None else tolerance_ms
    change, slower, faster = measure_median(new, old, shift_ms, paired=paired)
    return decide_median(change, slower.p, faster.p, shift_ms, alpha)


def measure_median(head: Floats, base: Floats, shift_ms: float, *, paired: bool) -> tuple[MedianChange, Tail, Tail]:
    """Return the change of the median, and the tests of "slower" and "faster" by more than `shift_ms`.

    Pairs: Wilcoxon's signed ranks, and the interval of the median difference by order statistics. Two samples:
    Mann-Whitney's U, and the shifts of the median that Fisher's test of the turns over the pooled median leaves.
    With fewer than `LEAST_PAIRS` there are only the observed change, and tests that find nothing.
    """
    enough = min(len(head), len(base)) >= LEAST_PAIRS
    low = high = math.nan
    slower = faster = NOTHING
    if paired:
        lowest, highest = exact.pair_differences(head, base)
        moved = lowest[lowest == highest]  # a pair that neither run answered says nothing
        size = float(np.median(moved)) if len(moved) else math.nan
        if enough:
            slower, faster = (exact.compare_signed_ranks(side) for side in (moved - shift_ms, -moved - shift_ms))
            low, high = exact.median_interval(lowest, highest)
    else:
        size = quantile(head, 0.5) - quantile(base, 0.5)
        if enough:
            slower, faster = exact.compare_ranks(head, base + shift_ms), exact.compare_ranks(base, head + shift_ms)
            low, high = exact.quantile_interval(head, base, 0.5, paired=False)
            low, high = (min(low, size), max(high, size)) if math.isfinite(size) else (low, high)
    change = Change.AMBIGUOUS if enough else Change.TOO_FEW
    return MedianChange(change, 1.0, 1.0, known(size), known(low), known(high)), slower, faster


def decide_median(
    change: MedianChange, p_slower: float, p_faster: float, tolerance_ms: float, alpha: float = ALPHA
) -> MedianChange:
    """Return the change with those p-values, such as adjusted ones, and the finding that follows from them."""
    if change.change is Change.TOO_FEW:
        return change
    size = change.median_change_ms
    if p_slower < alpha and (size is None or size > tolerance_ms):
        found = Change.SLOWER
    elif p_faster < alpha and (size is None or size < -tolerance_ms):
        found = Change.FASTER
    elif is_within(change.low_ms, change.high_ms, tolerance_ms):
        found = Change.SAME
    else:
        found = Change.AMBIGUOUS
    return replace(change, change=found, p_slower=p_slower, p_faster=p_faster)


def to_array(values: Values) -> Floats:
    """Return the values in their order, unanswered turns as +inf.

    Raises:
        ValueError: a value is nan.
    """
    sort_values(values)
    return np.asarray([math.inf if value is None else value for value in values], np.float64)


def quantile(values: Floats, q: float) -> float:
    """Return `stats.percentile` of an array, +inf for None."""
    ranked = np.sort(values)
    place = round(q * (len(ranked) - 1), 9)
    low, high = math.floor(place), math.ceil(place)
    if math.isinf(ranked[high]):
        return math.inf
    return float(ranked[low] + (ranked[high] - ranked[low]) * (place - low))


def finite_or_largest(value: float, values: Floats) -> float:
    """Return the value, or the largest finite one of `values` if it is not finite; 0.0 if there is none."""
    return value if math.isfinite(value) else float(values[np.isfinite(values)].max(initial=0.0))


def known(value: float) -> float | None:
    """Return the value; None for one that is not finite."""
    return value if math.isfinite(value) else None
