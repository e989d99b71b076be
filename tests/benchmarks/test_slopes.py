"""Slopes of series with memory: a true leak is found, and none is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.slopes import fit_slope

N = 50
CALLS = np.arange(N) * 8.0 + 60


def make_memory(seed: int, kib_a_call: float) -> np.ndarray:
    """Resident memory as an agent's: what is allocated stays for a while, and now and then there is a step."""
    rng = np.random.default_rng(seed)
    noise = np.zeros(N)
    for index in range(1, N):
        noise[index] = 0.6 * noise[index - 1] + rng.normal(0, 150)
    steps = np.where(np.arange(N) >= rng.integers(N), 256.0, 0.0)
    return 90_000 + kib_a_call * CALLS + noise + steps


def test_a_leak_of_20_kib_a_call_is_found():
    """In every one of 12 series; the interval lies over what is promised."""
    slopes = [fit_slope(CALLS, make_memory(seed, 20.0)) for seed in range(12)]
    assert [slope.holds_or_below(10.0) for slope in slopes] == [False] * 12
    assert np.median([slope.point for slope in slopes]) == pytest.approx(20, abs=1.5)


def test_no_leak_is_none():
    """In every one of 12 series, and the intervals are narrow enough to be worth something."""
    slopes = [fit_slope(CALLS, make_memory(seed, 0.0)) for seed in range(12)]
    assert all(slope.holds_or_below(10.0) for slope in slopes)
    assert max(slope.half_width for slope in slopes) < 10


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of 40 series with independent noise, 33 or more: with a true 95 % fewer have a chance of 1 in 1,000."""
    held = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(0, 200, N)
        slope = fit_slope(CALLS, 3 * CALLS + noise)
        held += slope.low <= 3 <= slope.high
    assert held >= 33


@settings(max_examples=10)
@given(st.floats(-50, 50), st.floats(-1e5, 1e5), st.integers(0, 1000))
def test_a_trend_that_is_added_moves_the_slope_by_itself(trend, offset, seed):
    """Point and interval move by the trend, and the level changes nothing."""
    noise = np.random.default_rng(seed).normal(0, 100, 20)
    at = np.arange(20.0)
    plain, moved = fit_slope(at, noise), fit_slope(at, noise + trend * at + offset)
    for one, other in ((plain.point, moved.point), (plain.low, moved.low), (plain.high, moved.high)):
        assert other == pytest.approx(one + trend, abs=1e-6)


def test_a_single_step_is_no_slope():
    """An allocator's arena of 2 MiB, taken once in the middle, does not count as a leak."""
    rng = np.random.default_rng(1)
    memory = 90_000 + rng.normal(0, 20, N) + np.where(np.arange(N) >= N - 5, 2048.0, 0.0)
    assert fit_slope(CALLS, memory).point == pytest.approx(0, abs=1)


@pytest.mark.parametrize("at", [range(7), [0, 1, 1, 2, 3, 4, 5, 6, 7]])
def test_too_few_or_equal_places_are_refused(at):
    """There is no slope then."""
    with pytest.raises(ValueError, match="8 or more"):
        fit_slope(list(at), list(at))
