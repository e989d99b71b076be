"""The loop's lag as a percentile, with constant memory."""

import math

import pytest
from turngap_agent.telemetry.metrics import LoopLag


def test_before_any_sample_there_is_no_lag():
    """Unknown is not zero."""
    assert math.isnan(LoopLag().p99_s())


@pytest.mark.parametrize(("late", "expected_s"), [(0, 0.0001), (1, 0.0001), (2, 0.0050)])
def test_p99_is_the_nearest_rank(late, expected_s):
    """Of 100 samples one may be late; the second one shows."""
    lag = LoopLag()
    for _ in range(100 - late):
        lag.add(20_000)
    for _ in range(late):
        lag.add(4_950_000)
    assert lag.p99_s() == pytest.approx(expected_s)


def test_extremes_are_kept_in_range():
    """Earlier than due is on time; later than a second is a second."""
    early, late = LoopLag(), LoopLag()
    early.add(-5_000_000)
    late.add(10**12)
    assert early.p99_s() == pytest.approx(0.0001)
    assert late.p99_s() == pytest.approx(1, abs=0.001)
