"""A run against its baseline: same, faster, slower or ambiguous, and by how much. Pure.

The absolute budget decides; this is a second gate beside it. Unanswered turns (None) rank above every answered one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from scipy import stats

from turngap.verdict.stats import Floats, Values, ordered, percentile

Alternative = Literal["greater", "less", "two-sided"]
LEAST_PAIRS = 6
"""With fewer, no p-value of signed ranks is small, and an interval says nothing."""


class Change(StrEnum):
    """A run against its baseline."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    AMBIGUOUS = "ambiguous"
    TOO_FEW = "too few"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Head against base: p-values of "slower" and "faster" by more than the tolerance, and the size of the change."""

    change: Change
    p_slower: float
    p_faster: float
    median_change_ms: float | None
    """Head's median minus base's with its 95 % percentile-bootstrap interval; None among unanswered turns."""
    low_ms: float | None
    high_ms: float | None


def compare(
    head: Values, base: Values, *, tolerance_ms: float | None = None, alpha: float = 0.01, seed: int = 1
) -> Comparison:
    """Compare two runs by Mann-Whitney's U; "same" needs the interval of the median to lie inside the tolerance.

    The tolerance is 5 % of the base's median, where none is given.

    Raises:
        ValueError: a value is nan, or a run has no turns.
    """
    new, old = ordered(head), ordered(base)
    if not len(new) or not len(old):
        raise ValueError("a comparison needs turns on both sides")
    shift_ms = tolerance_of(base) if tolerance_ms is None else tolerance_ms
    p_slower = float(stats.mannwhitneyu(new, old + shift_ms, alternative="greater").pvalue)
    p_faster = float(stats.mannwhitneyu(new + shift_ms, old, alternative="less").pvalue)
    size = low = high = None
    if np.isfinite(new).all() and np.isfinite(old).all():
        size = float(np.median(new) - np.median(old))
        low, high = _median_change(new, old, np.random.default_rng(seed))
    found = Comparison(Change.AMBIGUOUS, p_slower, p_faster, size, low, high)
    return decided(found, p_slower, p_faster, shift_ms, alpha)


def tolerance_of(base: Values, least_ms: float = 0.0) -> float:
    """What counts as no change: 5 % of the base's median, and no less than `least_ms`."""
    return max(least_ms, 0.05 * (percentile(base, 0.5) or 0.0))


def compare_paired(
    head: Values, base: Values, *, tolerance_ms: float, alpha: float = 0.01, seed: int = 1
) -> Comparison:
    """Compare replays of the same utterances in the same order by Wilcoxon's signed ranks; at least one pair.

    Raises:
        ValueError: a value is nan, or the runs' lengths differ or are 0.
    """
    if len(head) != len(base) or not len(head):
        raise ValueError(f"{len(head)} and {len(base)} turns are no pairs")
    answered = np.isfinite(ordered([*head, *base]))
    later = 1e6 + 10 * float(ordered([*head, *base])[answered].max(initial=0.0))
    new, old = (np.asarray([later if v is None else v for v in values], np.float64) for values in (head, base))
    p_slower = paired_p(list(new), list(old + tolerance_ms), "greater")
    p_faster = paired_p(list(new + tolerance_ms), list(old), "less")
    size = low = high = None
    if answered.all():
        size, low, high = median_interval(new - old, seed)
    found = Comparison(Change.AMBIGUOUS, p_slower, p_faster, size, low, high)
    return decided(found, p_slower, p_faster, tolerance_ms, alpha)


def median_interval(moved: Floats, seed: int = 1) -> tuple[float, float, float]:
    """The median of paired differences and its 95 % percentile-bootstrap interval; at least one of them."""
    drawn = np.median(np.random.default_rng(seed).choice(moved, (2000, len(moved))), axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.median(moved)), float(low), float(high)


def undecided(found: Comparison) -> Comparison:
    """What is left of a comparison of fewer than `LEAST_PAIRS`: the change as it was seen, and no finding on it."""
    return replace(found, change=Change.TOO_FEW, p_slower=1.0, p_faster=1.0, low_ms=None, high_ms=None)


def decided(
    found: Comparison, p_slower: float, p_faster: float, tolerance_ms: float, alpha: float = 0.01
) -> Comparison:
    """The comparison with those p-values (adjusted ones, say) in place of its own, and the change that they make."""
    if p_slower < alpha:
        change = Change.SLOWER
    elif p_faster < alpha:
        change = Change.FASTER
    elif found.low_ms is not None and found.high_ms is not None and max(-found.low_ms, found.high_ms) <= tolerance_ms:
        change = Change.SAME
    else:
        change = Change.AMBIGUOUS
    return replace(found, change=change, p_slower=p_slower, p_faster=p_faster)


def paired_p(head: Sequence[float], base: Sequence[float], alternative: Alternative = "greater") -> float:
    """Wilcoxon's signed-rank p-value for replays of the same utterances in the same order; 1.0 when all are equal."""
    difference = np.asarray(head, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    if np.isnan(difference).any():
        raise ValueError("nan among paired values")
    return float(stats.wilcoxon(difference, alternative=alternative).pvalue) if difference.any() else 1.0


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p-values, for many stages at once."""
    return [float(p) for p in stats.false_discovery_control(p_values, method="bh")] if p_values else []


def _median_change(new: Floats, old: Floats, rng: np.random.Generator, times: int = 2000) -> tuple[float, float]:
    drawn = np.median(rng.choice(new, (times, len(new))), axis=1) - np.median(
        rng.choice(old, (times, len(old))), axis=1
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
