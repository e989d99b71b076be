"""Sequential plans: their errors, power and length are exact, and what they promise holds for any number of turns."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from turngap.verdict import stats
from turngap.verdict.plan import Plan, plan_fixed, plan_sequential
from turngap.verdict.probabilities import chain, turns_against_bursts

LOOKS = Plan(190, 0.05, 0.05, 0.01, (90, 130, 160, 190, 190), ())
"""PASS at 90 turns with none over, 130 with one, 160 with two, 190 with four."""


def test_a_known_plan_has_its_known_figures() -> None:
    """The figures of that plan were computed apart from this code."""
    assert LOOKS.power(0.05) == pytest.approx(0.0456, abs=5e-5)
    assert LOOKS.power(0.01) == pytest.approx(0.959, abs=5e-4)
    assert LOOKS.power(0.02) == pytest.approx(0.684, abs=6e-4)
    lengths = [LOOKS.expected_turns(misses) for misses in (0.002, 0.01, 0.05, 0.1)]
    assert lengths == pytest.approx([98, 128, 98, 50], abs=0.6)


@pytest.mark.parametrize("bursts", [1.0, 2.0, 3.0])
def test_probabilities_are_those_of_all_courses_together(bursts: float) -> None:
    """Every sequence of 10 turns, each followed until it ends, with its probability: the same sums."""
    plan = Plan(10, 0.3, 0.2, 0.2, (4, 7, 10), ((3, 3), (4, 5), (5, 8)))
    stay, enter = chain(0.2, bursts)
    passes = fails = expected = total = 0.0
    for before in (0, 1):
        for course in product((0, 1), repeat=10):
            probability, last = (0.2 if before else 0.8), before
            for miss in course:
                over = stay if last else enter
                probability *= over if miss else 1 - over
                last = miss
            total += probability
            misses = 0
            for turns, miss in enumerate(course, 1):
                misses += miss
                if plan.shows_within(misses, turns):
                    passes += probability
                elif plan.shows_over(misses, turns):
                    fails += probability
                elif misses < plan.last_miss and turns < 10:
                    continue
                expected += probability * turns
                break
    assert total == pytest.approx(1)
    course_ = plan.course(0.2, bursts)
    assert (course_.passes, course_.fails, course_.expected_turns) == pytest.approx((passes, fails, expected))


def test_the_gates_plan_is_short_and_strong() -> None:
    """190 turns, p95 with 95 % confidence: false PASS ≤ 5 %, power ≥ .95 at 1 % misses, 130 calls or fewer."""
    plan = plan_sequential(190, 0.05)
    assert plan.power(0.05) <= 0.05
    assert plan.power(0.01) >= 0.95
    assert plan.expected_turns(0.01) <= 130
    assert plan.expected_turns(0.1) <= 55
    assert plan.course(0.05).fails <= 0.05
    assert plan.course(0.5).fails > 0.99


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 260),
    st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.25]),
    st.sampled_from([0.01, 0.05, 0.1]),
    st.sampled_from([0.0125, 0.05]),
)
def test_errors_are_within_their_levels(turns: int, miss_rate: float, false_pass: float, false_fail: float) -> None:
    """Whatever the number of turns, the limit and the levels; and a better agent passes more often."""
    plan = plan_sequential(turns, miss_rate, false_pass, false_fail)
    assert plan.power(miss_rate) <= false_pass + 1e-9
    assert plan.course(miss_rate).fails <= false_fail + 1e-9
    assert list(plan.pass_from) == sorted(plan.pass_from)
    assert all(one < other for one, other in zip(plan.fail_within, plan.fail_within[1:], strict=False))
    powers = [plan.power(share * miss_rate) for share in (0.1, 0.3, 0.6, 1.0)]
    assert powers == sorted(powers, reverse=True)
    if turns >= stats.n_needed(0, 1 - miss_rate, 1 - false_pass):
        assert plan.shows_within(0, turns)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.sampled_from([0.02, 0.05, 0.2]))
def test_a_fixed_plan_is_the_binomial_test(turns: int, miss_rate: float) -> None:
    """One look: PASS as the exact bound says, and the fewest misses that exclude the limit for FAIL."""
    plan = plan_fixed(turns, miss_rate, 0.05, 0.01)
    for misses in range(min(turns, 30) + 1):
        assert plan.shows_within(misses, turns) is stats.shows_quantile(misses, turns, 1 - miss_rate)
        assert plan.shows_over(misses, turns) is bool(binom.sf(misses - 1, turns, miss_rate) <= 0.01)


def test_at_190_turns_sixteen_misses_are_needed_for_fail() -> None:
    """Five are not enough for PASS, and say nothing more."""
    plan = plan_fixed(190, 0.05)
    assert [plan.shows_within(misses, 190) for misses in (4, 5)] == [True, False]
    assert [plan.shows_over(misses, 190) for misses in (15, 16)] == [False, True]


@pytest.mark.parametrize("turns", [59, 100, 150, 188, 189])
def test_the_last_look_of_fewer_turns_keeps_the_level(turns: int) -> None:
    """188 replies in 190 turns: the most misses with which all looks together keep to 5 %, and not one more."""
    plan = plan_sequential(190, 0.05)
    allowed = plan.allowed_at_end(turns)
    assert allowed >= plan.allowed(turns)
    looks = [start for start in plan.pass_from if start < turns]

    def level(misses: int) -> float:
        steps = (*looks, *[turns] * (misses + 1 - len(looks))) if misses + 1 > len(looks) else tuple(looks)
        return Plan(turns, 0.05, 0.05, 0.05, tuple(steps), ()).power(0.05)

    assert level(allowed) <= 0.05 + 1e-9
    assert level(allowed + 1) > 0.05
    assert plan.allowed_at_end(190) == plan.allowed(190)


def test_runs_of_misses_cost_turns() -> None:
    """Robust plans keep their level for runs of that mean length, and need the more turns."""
    plan, robust = plan_sequential(260, 0.05), plan_sequential(260, 0.05, bursts=3)
    assert plan.power(0.05, 3) > 0.2
    assert max(robust.power(0.05, length) for length in (1, 2, 3)) <= 0.05
    assert robust.pass_from[0] > 2 * plan.pass_from[0]
    needed = turns_against_bursts(0, 0.05, 0.05, 3)
    stay, enter = chain(0.05, 3)
    assert stay == pytest.approx(2 / 3)
    assert 0.95 * (1 - enter) ** needed <= 0.05 * 1.02
    assert needed == 168


def test_runs_have_their_mean_length() -> None:
    """The chain misses the given share of turns, in runs of the given mean."""
    rng = np.random.default_rng(3)
    stay, enter = chain(0.1, 3)
    misses = [False]
    for chance in rng.random(200_000):
        misses.append(chance < (stay if misses[-1] else enter))
    runs = sum(one and not before for before, one in pairwise(misses))
    assert np.mean(misses) == pytest.approx(0.1, abs=0.005)
    assert sum(misses) / runs == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("arguments", [(0, 0.05), (10, 0.0), (10, 1.0), (10, 0.05, 0.0)])
def test_a_plan_needs_turns_and_probabilities(arguments: tuple[int, float]) -> None:
    """Nothing is planned from a mistake."""
    with pytest.raises(ValueError, match="turns"):
        plan_sequential(*arguments)
