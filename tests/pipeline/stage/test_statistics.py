"""The figures of a stage: the interval of a median, and whether two runs agree, on simulated series."""

from __future__ import annotations

import numpy as np
import pytest
from turngap_agent.stage.statistics import agree, find_median_interval, summarise


def series(seed: int, n: int = 20, scale: float = 1.0) -> list[float]:
    """Times of a stage: log-normal, 15 % spread around 100 ms."""
    drawn = np.random.default_rng(seed).lognormal(np.log(100), 0.15, n)
    return [float(value) * scale for value in drawn]


def test_the_interval_contains_the_true_median_as_often_as_it_says() -> None:
    """The nominal 95 % of 200 series of 20; a percentile bootstrap's own coverage is a little under that."""
    intervals = [find_median_interval(series(seed)) for seed in range(200)]
    hits = sum(low <= 100 <= high for low, high in filter(None, intervals))
    assert 180 <= hits <= 200


def test_two_runs_of_one_stage_agree_and_of_a_slower_one_do_not() -> None:
    """Nearly always: the same in over nine of ten pairs, half as slow again in none."""
    pairs = [(series(seed), series(1000 + seed)) for seed in range(60)]
    assert sum(agree(one, other) for one, other in pairs) >= 54
    assert not any(agree(one, [1.5 * value for value in other]) for one, other in pairs)


def test_a_difference_under_the_resolution_is_none() -> None:
    """Two processes differ by more than their intervals say, where a unit takes some hundredths of a ms."""
    assert agree([0.02] * 20, [0.04] * 20)
    assert not agree([0.02] * 20, [0.2] * 20)
    assert not agree([20.0] * 20, [40.0] * 20)


def test_too_few_values_have_no_interval() -> None:
    """And are compared with nothing."""
    assert find_median_interval([1, 2, 3, 4]) is None
    assert summarise([]) is None
    summary = summarise([4.0, 1.0, 2.0])
    assert summary == {"n": 3, "p50": 2.0, "p50_interval": None, "p95": 4.0}
    with pytest.raises(ValueError, match="at least 5"):
        agree([1, 2], [1, 2])
