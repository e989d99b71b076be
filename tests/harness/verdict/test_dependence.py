"""Tests of independence: they find what counting turns as independent would not, and rarely anything else."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from turngap.verdict import dependence, stats
from turngap.verdict.dependence import LEVEL, find_stretch, measure_autocorrelation, measure_runs


@pytest.mark.parametrize(("n", "misses"), [(9, 3), (8, 5), (7, 1), (6, 6)])
def test_the_probability_of_runs_is_exact(n: int, misses: int) -> None:
    """The share of all arrangements with as few runs or fewer."""
    arrangements = [[place in chosen for place in range(n)] for chosen in combinations(range(n), misses)]
    runs = [sum(b and not a for a, b in zip([False, *flags], flags, strict=False)) for flags in arrangements]
    for flags, number in zip(arrangements, runs, strict=True):
        measured = measure_runs(flags)
        assert measured.p_value == pytest.approx(sum(other <= number for other in runs) / len(runs))
        assert (measured.misses, measured.turns) == (misses, n)


def test_three_misses_in_a_row_are_no_accident() -> None:
    """Among 190 turns they are found; three apart, or none, are not."""
    row = [60 <= place < 63 for place in range(190)]
    assert measure_runs(row).p_value < LEVEL
    assert measure_runs(row).longest == 3
    assert measure_runs([place in (5, 60, 140) for place in range(190)]).p_value == 1
    assert measure_runs([False] * 190).p_value == 1
    assert measure_runs([]).p_value == 1


def test_a_slow_stretch_is_found_that_the_drift_test_misses() -> None:
    """28 of 190 turns in a row 300 ms later, in the middle: no drift, but a stretch, with its place and size."""
    gaps = 400 * np.exp(0.15 * np.random.default_rng(5).normal(size=190))
    gaps[80:108] += 300
    drift = stats.measure_drift(list(gaps))
    stretch = find_stretch(list(gaps))
    assert drift is not None
    assert not drift.drifting
    assert stretch is not None
    assert stretch.p_value < LEVEL
    assert 75 <= stretch.first <= 85
    assert stretch.length == 28
    assert stretch.change_ms == pytest.approx(300, abs=30)


def test_latencies_that_follow_each_other_are_found() -> None:
    """A correlation of 0.6 from turn to turn, with an interval that contains it."""
    rng = np.random.default_rng(6)
    latent = [float(rng.normal())]
    for _ in range(189):
        latent.append(0.6 * latent[-1] + 0.8 * float(rng.normal()))
    alike = measure_autocorrelation([400 + 50 * value for value in latent])
    assert alike is not None
    assert alike.p_value < LEVEL
    assert alike.low < 0.6 < alike.high + 0.05


def test_independent_turns_are_rarely_suspected() -> None:
    """Each test at its level: 1,000 runs of independent turns, 5 misses each."""
    rng = np.random.default_rng(7)
    found = np.zeros(3)
    for _ in range(1000):
        gaps = list(400 * np.exp(0.15 * rng.normal(size=120)))
        over = [gap > sorted(gaps)[-6] for gap in gaps]
        alike, stretch = measure_autocorrelation(gaps), find_stretch(gaps)
        assert alike is not None
        assert stretch is not None
        found += [measure_runs(over).p_value < LEVEL, alike.p_value < LEVEL, stretch.p_value < LEVEL]
    assert found.max() <= 13  # binomial: P(> 13 of 1,000 at .005) < .001


def test_the_same_turns_have_the_same_answer() -> None:
    """Permutations are seeded; unanswered turns are left out, and few or equal gaps are not tested."""
    gaps = [400.0 + (37 * place) % 101 for place in range(60)]
    first = (measure_autocorrelation(gaps), find_stretch(gaps))
    dependence._null.cache_clear()
    assert (measure_autocorrelation([*gaps, None]), find_stretch([None, *gaps])) == first
    assert measure_autocorrelation(gaps[:19]) is None
    assert find_stretch([400.0] * 60) is None
