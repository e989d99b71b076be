"""Two medians: slower, faster, same and ambiguous are distinguished, whether or not every turn was answered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from turngap.verdict.comparison import LEAST_PAIRS, Change, compare_medians


def test_two_samples_name_the_change() -> None:
    """Slower, faster and same are distinguished; unanswered turns count as slower."""
    rng = np.random.default_rng(5)
    base = list(rng.normal(400, 20, 100))
    assert compare_medians([v * 1.2 for v in base], base, paired=False).change is Change.SLOWER
    assert compare_medians([v * 0.8 for v in base], base, paired=False).change is Change.FASTER
    assert compare_medians(list(rng.normal(400, 20, 100)), base, paired=False).change is Change.SAME
    assert compare_medians([300.0, 500.0] * 5, [310.0, 490.0] * 5, paired=False).change is Change.AMBIGUOUS
    half_missed = compare_medians([*base[:50], *[None] * 50], base, paired=False)
    assert half_missed.change is Change.SLOWER
    assert half_missed.median_change_ms is None
    with pytest.raises(ValueError, match="turns"):
        compare_medians([], base, paired=False)


def test_pairs_see_a_shift_that_is_small_beside_the_spread() -> None:
    """A tolerance of 0 shows it; equal runs are the same."""
    base = list(np.random.default_rng(7).normal(400, 80, 30))
    moved = compare_medians([v + 5 for v in base], base, paired=True, tolerance_ms=0.0)
    assert moved.change is Change.SLOWER
    assert moved.p_slower < 0.01
    assert moved.median_change_ms == pytest.approx(5.0)
    same = compare_medians(base, base, paired=True)
    assert (same.change, same.p_slower, same.median_change_ms) == (Change.SAME, 1.0, 0.0)


@pytest.mark.parametrize("paired", [True, False])
def test_unanswered_turns_leave_the_interval(paired: bool) -> None:
    """A few in either run, of the same utterance or not, change it little: they rank last."""
    rng = np.random.default_rng(3)
    base: list[float | None] = list(rng.normal(450, 50, 190))
    head: list[float | None] = [(value or 0.0) + rng.normal(0, 10) for value in base]
    for place in (1, 2, 3):
        base[place] = head[place + 1] = None
    found = compare_medians(head, base, paired=paired)
    assert found.median_change_ms is not None
    assert found.low_ms is not None
    assert found.high_ms is not None
    assert found.low_ms <= found.median_change_ms <= found.high_ms
    assert found.high_ms - found.low_ms < (10 if paired else 50)
    assert found.change in ((Change.SAME,) if paired else (Change.SAME, Change.AMBIGUOUS))


def test_seven_pairs_can_show_a_change_and_six_cannot() -> None:
    """Six that all became slower have p = 1/64; of fewer than seven only the observed change is left."""
    base = [400.0 + place for place in range(LEAST_PAIRS)]
    head = [value + 100 for value in base]
    assert compare_medians(head, base, paired=True).change is Change.SLOWER
    few = compare_medians(head[:6], base[:6], paired=True)
    assert few.change is Change.TOO_FEW
    assert (few.median_change_ms, few.low_ms, few.high_ms, few.p_slower) == (100.0, None, None, 1.0)


def test_a_change_within_the_tolerance_is_no_finding() -> None:
    """However surely it is known."""
    base = list(np.random.default_rng(1).normal(450, 50, 1000))
    assert compare_medians([value + 20 for value in base], base, paired=True).change is Change.SAME


def test_nan_is_refused() -> None:
    """nan among latencies raises instead of comparing; so do pairs without a partner."""
    with pytest.raises(ValueError, match="nan"):
        compare_medians([1.0, math.nan], [1.0], paired=False)
    with pytest.raises(ValueError, match="no pairs"):
        compare_medians([1.0, 2.0], [1.0], paired=True)
