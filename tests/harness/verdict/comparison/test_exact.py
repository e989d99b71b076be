"""The tests and intervals of a comparison agree with enumeration and with scipy, and are exact under no change."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from turngap.verdict.comparison import exact
from turngap.verdict.comparison.exact import NOTHING, Tail

SCORES = st.lists(st.integers(-6, 6), max_size=8)
MS = st.one_of(st.integers(300, 320).map(float), st.just(math.inf))
PAIRS = st.lists(st.tuples(MS, MS), min_size=2, max_size=7)
ALPHA = 0.05


@given(SCORES)
def test_a_signed_sum_is_that_of_all_flips(scores: list[int]) -> None:
    """The p-value is the share of sign flips with a sum as large."""
    sizes = [abs(score) for score in scores if score]
    sums = [sum(flips) for flips in itertools.product(*[(size, -size) for size in sizes])]
    share = np.mean([one >= sum(scores) for one in sums])
    tail = exact.compare_signed_sum(np.asarray(scores, np.int64))
    assert tail.p == pytest.approx(share)
    assert tail.least == pytest.approx(0.5 ** len(sizes) if sizes else 1.0)


@given(PAIRS)
def test_a_tail_is_found_by_chance_no_more_often_than_promised(pairs: list[tuple[float, float]]) -> None:
    """Where either turn of each pair could have been the head's: over all such runs, p ≤ α in at most a share of α.

    This is what a threshold from both runs together is for; unanswered turns included.
    """
    found = []
    for swaps in itertools.product((False, True), repeat=len(pairs)):
        chosen = [pair[::-1] if swap else pair for pair, swap in zip(pairs, swaps, strict=True)]
        head, base = np.asarray(chosen, np.float64).T
        found.append([exact.compare_quantiles(head, base, q, 0.0, paired=True).p for q in (0.5, 0.8)])
    for p_values in zip(*found, strict=True):
        for alpha in (0.02, ALPHA, 0.3):
            assert np.mean([p <= alpha for p in p_values]) <= alpha + 1e-12


def test_two_samples_agree_with_fisher() -> None:
    """scipy's exact test; and no events, or events alone, say nothing."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        head, base = rng.random(rng.integers(3, 30)) < 0.4, rng.random(rng.integers(3, 30)) < 0.3
        table = [[head.sum(), (~head).sum()], [base.sum(), (~base).sum()]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert exact.compare_events(head, base, paired=False).p == pytest.approx(expected)
    nothing = np.zeros(5, bool)
    assert exact.compare_events(nothing, nothing, paired=False) == NOTHING
    assert exact.compare_events(~nothing, ~nothing, paired=True) == NOTHING


def test_pairs_agree_with_the_sign_test() -> None:
    """McNemar's exact test is that of the discordant pairs."""
    head = np.asarray([True] * 9 + [False] * 11)
    base = np.asarray([False] * 8 + [True] * 4 + [False] * 8)
    tail = exact.compare_events(head, base, paired=True)
    assert tail.p == pytest.approx(stats.binomtest(8, 11, alternative="greater").pvalue)
    assert tail.least == 0.5**11


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=70, unique_by=abs))
def test_signed_ranks_agree_with_scipy(differences: list[int]) -> None:
    """Without ties its exact law is known; beyond sixty pairs both use the normal approximation."""
    values = np.asarray([value for value in differences if value], np.float64)
    if not len(values):
        return
    expected = stats.wilcoxon(values, alternative="greater", method="exact").pvalue
    assert exact.compare_signed_ranks(values).p == pytest.approx(float(expected), abs=2e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_is_what_the_test_does_not_reject(paired: bool) -> None:
    """Shifts inside it are kept, those outside rejected."""
    rng = np.random.default_rng(4)
    base = rng.lognormal(6.1, 0.1, 120)
    head = base + rng.normal(10, 25, 120)
    low, high = exact.quantile_interval(head, base, 0.9, paired=paired)
    assert -50 < low < 10 < high < 90
    for shift, kept in ((low - 1, False), (low + 1, True), (high - 1, True), (high + 1, False)):
        p_values = (
            exact.compare_quantiles(head, base, 0.9, shift, paired=paired).p,
            exact.compare_quantiles(base, head, 0.9, -shift, paired=paired).p,
        )
        assert (min(p_values) > 0.025) is kept


def test_an_end_that_unanswered_turns_leave_open_is_infinite() -> None:
    """p95 of a run with a tenth of its turns unanswered is later by an unknown amount."""
    base = np.linspace(400, 500, 200)
    head = np.where(np.arange(200) % 10 == 0, np.inf, base)
    low, high = exact.quantile_interval(head, base, 0.95, paired=True)
    assert (low, high) == (math.inf, math.inf)
    assert exact.quantile_interval(base[:20], base[:20], 0.95, paired=True) == (-math.inf, math.inf)


def test_inf_minus_inf_is_at_both_ends() -> None:
    """A pair that neither run answered has an unknown difference; one that one of them did has a known sign."""
    head, base = np.asarray([1.0, np.inf, np.inf, 5.0]), np.asarray([2.0, np.inf, 3.0, np.inf])
    lowest, highest = exact.pair_differences(head, base)
    assert lowest.tolist() == [-1.0, -math.inf, math.inf, -math.inf]
    assert highest.tolist() == [-1.0, math.inf, math.inf, -math.inf]


def test_the_median_interval_covers() -> None:
    """At least 95 % of samples of each size, and no end where there are too few."""
    rng = np.random.default_rng(6)
    for n in (6, 7, 12, 30, 101):
        draws = rng.exponential(1.0, (1000, n))
        inside = [low <= math.log(2) <= high for low, high in map(exact.median_interval, draws)]
        assert np.mean(inside) > 0.93
    assert exact.median_interval(np.arange(5.0)) == (-math.inf, math.inf)


@pytest.mark.parametrize(("p", "q", "n"), [(0.02, 0.02, 190), (0.02, 0.05, 190), (0.1, 0.3, 60), (0.0, 0.02, 190)])
def test_the_interval_of_a_difference_of_shares_covers(p: float, q: float, n: int) -> None:
    """About 95 %, of two samples and of discordant pairs."""
    rng = np.random.default_rng(8)
    samples = zip(rng.binomial(n, p, 1500), rng.binomial(n, q, 1500), strict=True)
    pairs = rng.multinomial(n, [p, q, 1 - p - q], 1500)[:, :2]
    for counts in (samples, pairs):
        intervals = [exact.share_interval(int(more), n, int(fewer), n) for more, fewer in counts]
        assert np.mean([low <= p - q <= high for low, high in intervals]) > 0.93


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8))
def test_adjusted_p_values_are_no_smaller_than_one_test_and_no_larger_than_all(raw: list[tuple[float, float]]) -> None:
    """Between p and the number of measures times p, in the same order; 1 for those that could not have counted."""
    tails = [Tail(max(pair), min(pair)) for pair in raw]
    adjusted = exact.adjust(tails, 0.01)
    for tail, p in zip(tails, adjusted, strict=True):
        assert tail.p <= p <= max(1.0, tail.p)
        assert p == 1.0 or p <= len(tails) * tail.p + 1e-12


def test_measures_without_events_cost_nothing() -> None:
    """Holm counts those alone that could have been significant (Tarone)."""
    real = Tail(0.006, 1e-6)
    assert exact.adjust([real], 0.01) == [0.006]
    assert exact.adjust([real, real], 0.01) == [0.012, 0.012]
    assert exact.adjust([real, *[Tail(0.25, 0.25)] * 9], 0.01) == [0.006, *[1.0] * 9]
    assert exact.adjust([Tail(0.002, 1e-6), Tail(0.009, 1e-6)], 0.01) == [0.004, 0.009]
    assert exact.adjust([], 0.01) == []
