"""Run against run: slower, faster, same and ambiguous are distinguished."""

from __future__ import annotations

import math

import numpy as np
import pytest
from turngap.verdict import compare


def test_compare_names_the_change() -> None:
    """Slower, faster and same are distinguished; few turns are ambiguous; unanswered turns count as slower."""
    rng = np.random.default_rng(5)
    base = list(rng.normal(400, 20, 100))
    assert compare.compare_samples([v * 1.2 for v in base], base).change is compare.Change.SLOWER
    assert compare.compare_samples([v * 0.8 for v in base], base).change is compare.Change.FASTER
    assert compare.compare_samples(list(rng.normal(400, 20, 100)), base).change is compare.Change.SAME
    assert compare.compare_samples([300.0, 500.0], [310.0, 490.0]).change is compare.Change.AMBIGUOUS
    half_missed = compare.compare_samples([*base[:50], *[None] * 50], base)
    assert half_missed.change is compare.Change.SLOWER
    assert half_missed.median_change_ms is None
    with pytest.raises(ValueError, match="turns"):
        compare.compare_samples([], base)


def test_paired_and_adjusted() -> None:
    """Paired replays see a shift that is small beside the spread; p-values of many stages are adjusted upward."""
    base = list(np.random.default_rng(7).normal(400, 80, 30))
    assert compare.paired_p_value([v + 5 for v in base], base) < 0.01
    assert compare.paired_p_value(base, base) == 1.0
    assert compare.adjust_p_values([0.01, 0.5]) == pytest.approx([0.02, 0.5])
    assert compare.adjust_p_values([]) == []


def test_nan_is_refused() -> None:
    """nan among latencies raises instead of comparing."""
    with pytest.raises(ValueError, match="nan"):
        compare.compare_samples([1.0, math.nan], [1.0])
    with pytest.raises(ValueError, match="nan"):
        compare.paired_p_value([math.nan], [1.0])
