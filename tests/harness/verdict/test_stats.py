"""Bounds are exact, unanswered turns count as infinitely late, and nan never gets through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from turngap.model.figures import Rate
from turngap.verdict import stats

milliseconds = st.floats(min_value=0, max_value=1e5, allow_nan=False)
turns = st.lists(st.one_of(st.none(), milliseconds), min_size=1, max_size=250)
answered = st.lists(milliseconds, min_size=1, max_size=250)


def test_n_needed_table() -> None:
    """The turns needed for 0 to 4 misses are those of the published table."""
    assert [stats.n_needed(t) for t in range(5)] == [59, 93, 124, 153, 181]
    assert [stats.n_needed(t, c=0.99) for t in range(5)] == [90, 130, 165, 198, 229]
    assert [stats.n_needed(t, q=0.99) for t in range(5)] == [299, 473, 628, 773, 913]


def test_misses_allowed_is_the_last_that_passes() -> None:
    """`misses_allowed` is the largest t with binom.cdf(t, n, 0.05) <= 0.05, and None where not even 0 passes."""
    for n in (*range(1, 420), 1000, 2000):
        passing = int(np.sum(scipy_stats.binom.cdf(np.arange(n + 1), n, 1 - 0.95) <= 1 - 0.95))
        assert stats.misses_allowed(n) == (passing - 1 if passing else None)


@settings(deadline=None)
@given(st.integers(0, 30), st.sampled_from([0.9, 0.95, 0.99]), st.sampled_from([0.9, 0.95, 0.99]))
def test_n_needed_is_the_first_that_passes(misses: int, q: float, c: float) -> None:
    """With n_needed turns it passes, with one less it does not."""
    n = stats.n_needed(misses, q, c)
    assert stats.shows_quantile(misses, n, q, c)
    assert n - 1 < misses or not stats.shows_quantile(misses, n - 1, q, c)


@settings(deadline=None)
@given(answered, st.floats(0, 1e5))
def test_bound_and_count_agree(values: list[float], budget: float) -> None:
    """The bound is within the budget exactly when the count of turns over it passes."""
    bound = stats.quantile_upper(values)
    over = sum(value > budget for value in values)
    assert (bound is not None and bound <= budget) == stats.shows_quantile(over, len(values))


@settings(deadline=None)
@given(st.integers(59, 250), st.integers(0, 2**32 - 1))
def test_bound_is_where_quantile_test_turns(n: int, seed: int) -> None:
    """scipy's quantile test rejects "p95 is at least this" just above the bound and not just below it."""
    values = np.random.default_rng(seed).lognormal(6, 0.15, n)
    bound = stats.quantile_upper(list(values))
    assert bound is not None
    above = scipy_stats.quantile_test(values, q=bound + 1e-9, p=0.95, alternative="less").pvalue
    below = scipy_stats.quantile_test(values, q=bound - 1e-9, p=0.95, alternative="less").pvalue
    assert above <= 0.05 < below


@settings(deadline=None)
@given(st.integers(2, 400), st.sampled_from([0.5, 0.9, 0.95, 0.99]))  # at n = 1 both sides are 0.95
def test_bounds_cover_by_the_binomial(n: int, q: float) -> None:
    """The ranks taken cover at 95 % or more, and the next rank inward would not."""
    values = [float(rank) for rank in range(1, n + 1)]
    upper = stats.quantile_upper(values, q)
    if upper is None:
        assert q**n > 0.05
    else:
        assert scipy_stats.binom.cdf(upper - 1, n, q) >= 0.95 > scipy_stats.binom.cdf(upper - 2, n, q)


def test_no_bound_below_59() -> None:
    """58 turns carry no 95/95 bound; 59 carry their largest."""
    values = [float(value) for value in range(59)]
    assert stats.quantile_upper(values[:58]) is None
    assert stats.quantile_upper(values) == 58.0
    assert stats.quantile_upper([]) is None


@settings(deadline=None)
@given(answered, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_percentile_is_numpys(values: list[float], q: float) -> None:
    """Where every turn was answered the percentile is numpy's linear one."""
    got = stats.percentile(values, q)
    assert got == pytest.approx(float(np.quantile(values, q)), rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(turns)
def test_unanswered_are_later_than_any(values: list[float | None]) -> None:
    """None behaves as +inf: a percentile is None exactly when it leans on an unanswered turn, and nan never appears."""
    n, missing = len(values), sum(value is None for value in values)
    for q in (0.5, 0.95, 1.0):
        got = stats.percentile(values, q)
        assert (got is None) == (math.ceil(round(q * (n - 1), 9)) >= n - missing)
        assert got is None or math.isfinite(got)
    bound = stats.quantile_upper(values)
    assert bound is None or math.isfinite(bound)
    if missing > (stats.misses_allowed(n) or 0):
        assert bound is None


def test_nan_is_refused() -> None:
    """nan raises in every function that takes latencies: comparing with it would pass a gate."""
    bad = [1.0] * 80 + [math.nan]
    for call in (stats.quantile_upper, stats.latency_figures, stats.measure_drift):
        with pytest.raises(ValueError, match="nan"):
            call(bad)
    with pytest.raises(ValueError, match="nan"):
        stats.percentile(bad, 0.5)


@pytest.mark.parametrize(("misses", "n"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(misses: int, n: int) -> None:
    """Counts that cannot be raise instead of giving a bound."""
    with pytest.raises(ValueError, match=str(n)):
        stats.shows_quantile(misses, n)
    with pytest.raises(ValueError, match=str(n)):
        stats.rate_upper(misses, n)


def test_no_turns_never_pass() -> None:
    """An empty run passes nothing."""
    assert not stats.shows_quantile(0, 0)
    assert stats.misses_allowed(0) is None
    empty = stats.latency_figures([])
    assert (empty.n, empty.p50, empty.p95, empty.p95_upper, empty.max) == (0, None, None, None, None)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_rate_bound_is_exact(n: int, data: st.DataObject) -> None:
    """At the Clopper-Pearson bound the observed count or fewer has probability 5 %."""
    events = data.draw(st.integers(0, n - 1))
    upper = stats.rate_upper(events, n)
    assert upper is not None
    assert scipy_stats.binom.cdf(events, n, upper) == pytest.approx(0.05, abs=1e-9)
    assert stats.rate_upper(n, n) == 1.0


def test_rates_known() -> None:
    """None in 149 shows 2 %, none in 12 shows only 22 %."""
    assert (stats.rate_upper(0, 149) or 1) <= 0.02 < (stats.rate_upper(0, 148) or 1)
    assert stats.rate_upper(0, 12) == pytest.approx(0.2209, abs=1e-3)
    assert stats.rate(0, 0) == Rate(events=0, n=0, rate=None, upper=None)


def test_figures_p99_needs_299() -> None:
    """p99 appears with the 299th turn; one unanswered turn takes the maximum away and leaves the rest."""
    values: list[float | None] = [float(value) for value in range(298)]
    assert stats.latency_figures(values).p99 is None
    assert stats.latency_figures([*values, 298.0]).p99 is not None
    late = stats.latency_figures([*values, None])
    assert late.max is None
    assert late.p95_upper is not None


def test_drift_is_seen_and_noise_is_not() -> None:
    """A steady rise of 30 % is drift; noise, a constant and a significant but small rise are not."""
    rng = np.random.default_rng(3)
    noise = rng.normal(400, 20, 100)
    rising = stats.measure_drift(list(noise + np.linspace(0, 120, 100)))
    assert rising is not None
    assert rising.drifting
    assert rising.low_ms < 120 < rising.high_ms
    for values in (noise, np.full(50, 400.0), np.linspace(400, 404, 100)):
        steady = stats.measure_drift(list(values))
        assert steady is not None
        assert not steady.drifting
    assert stats.measure_drift([1.0] * 7 + [None]) is None


@given(st.integers(1, 400), st.sampled_from([0.5, 0.95]))
def test_an_interval_is_the_narrowest_that_holds_by_order_statistics(n: int, q: float) -> None:
    """Of 1..n: neither side misses the quantile with more than 2.5 %, and the next one inside would."""
    low, high = stats.quantile_interval(list(map(float, range(1, n + 1))), q)
    if low is not None:
        assert scipy_stats.binom.cdf(low - 1, n, q) <= 0.025 + 1e-12
        assert scipy_stats.binom.cdf(low, n, q) > 0.025 - 1e-12
    if high is not None:
        assert 1 - scipy_stats.binom.cdf(high - 1, n, q) <= 0.025 + 1e-12
    assert low is None or high is None or low <= high


def test_an_interval_has_no_side_that_too_few_turns_or_unanswered_ones_would_carry() -> None:
    """Of five nothing; where the upper side falls among turns without an answer, only the lower one."""
    assert stats.quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) == (None, None)
    low, high = stats.quantile_interval([*map(float, range(1, 12)), *[None] * 9], 0.5)
    assert low is not None
    assert high is None
    assert stats.quantile_interval([], 0.5) == (None, None)
