"""A run against its baseline: same, faster, slower or ambiguous, and by how much. Pure.

The absolute budget decides; this is a second gate beside it. Unanswered turns (None) rank above every answered one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from scipy import stats

from harness.verdict.stats import Floats, Values, ordered, percentile

Alternative = Literal["greater", "less", "two-sided"]


class Change(StrEnum):
    """A run against its baseline."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    AMBIGUOUS = "ambiguous"


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


def compare(head: Values, base: Values, *, tolerance: float = 0.05, alpha: float = 0.01, seed: int = 1) -> Comparison:
    """Compare two runs by Mann-Whitney's U; "same" needs the interval of the median to lie inside the tolerance.

    Raises:
        ValueError: a value is nan, or a run has no turns.
    """
    new, old = ordered(head), ordered(base)
    if not len(new) or not len(old):
        raise ValueError("a comparison needs turns on both sides")
    p_slower = float(stats.mannwhitneyu(new, old * (1 + tolerance), alternative="greater").pvalue)
    p_faster = float(stats.mannwhitneyu(new * (1 + tolerance), old, alternative="less").pvalue)
    size = low = high = None
    middle = percentile(base, 0.5)
    if middle is not None and np.isfinite(new).all() and np.isfinite(old).all():
        size = float(np.median(new) - np.median(old))
        low, high = _median_change(new, old, np.random.default_rng(seed))
    if p_slower < alpha:
        change = Change.SLOWER
    elif p_faster < alpha:
        change = Change.FASTER
    elif low is not None and high is not None and middle and max(abs(low), abs(high)) <= tolerance * middle:
        change = Change.SAME
    else:
        change = Change.AMBIGUOUS
    return Comparison(change, p_slower, p_faster, size, low, high)


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
