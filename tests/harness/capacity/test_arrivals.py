"""Planned starts: how many lines are busy, how chance spreads calls, and that nothing but the plan decides."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.capacity import shapes
from turngap.capacity.arrivals import NS_PER_S, ArrivalPlan, Load, plan_arrivals
from turngap.capacity.shapes import LoadShape, Phase

STEADY, POISSON = shapes.load_shape("steady"), shapes.load_shape("poisson")


def most_at_once(plan: ArrivalPlan, lengths_s: list[float]) -> int:
    """Calls under way at most, if each lasts as planned."""
    mean_s = sum(lengths_s) / len(lengths_s)
    left = list(reversed(lengths_s))
    changes = []
    for arrival in plan.arrivals:
        length_s = mean_s if arrival.is_bystander else left.pop()
        changes += [(arrival.start_ns, 1), (arrival.start_ns + round(length_s * NS_PER_S) - 1000, -1)]
    level = most = 0
    for _, by in sorted(changes):
        level += by
        most = max(most, level)
    return most


@given(st.integers(1, 12), st.lists(st.floats(0.5, 20), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_as_many_lines_are_busy_as_the_load_says(calls: int, lengths_s: list[float]) -> None:
    """Every turn is planned once; never more calls than lines; all lines are busy when the first scored call starts."""
    plan = plan_arrivals(STEADY, Load(calls=calls), lengths_s, seed="1")
    assert len(plan.scored) == len(lengths_s)
    assert most_at_once(plan, lengths_s) <= calls
    first_ns = plan.scored[0].start_ns
    assert first_ns >= plan.lead_s * NS_PER_S - 1
    assert sum(arrival.is_bystander and arrival.start_ns < first_ns for arrival in plan.arrivals) >= calls
    starts = [arrival.start_ns for arrival in plan.arrivals]
    assert starts == sorted(starts)


def test_load_goes_on_after_the_last_scored_call() -> None:
    """Bystanders follow, so that the last turns are measured under the same load."""
    plan = plan_arrivals(STEADY, Load(calls=4), [3.0] * 20, seed="1")
    last_ns = plan.scored[-1].start_ns
    after = [arrival for arrival in plan.arrivals if arrival.start_ns > last_ns]
    assert len(after) >= 3
    assert all(arrival.is_bystander for arrival in after)


def test_one_line_plans_one_call_after_the_other() -> None:
    """Each starts when the one before it ends as planned."""
    plan = plan_arrivals(STEADY, Load(calls=1), [2.0, 3.0, 4.0], seed="1")
    gaps = [(after.start_ns - before.start_ns) / NS_PER_S for before, after in pairwise(plan.scored)]
    assert gaps == pytest.approx([2.0, 3.0])


def test_an_even_rate_has_equal_distances() -> None:
    """Whatever the lengths are."""
    plan = plan_arrivals(STEADY, Load(rate_per_s=5.0), [1.0, 9.0] * 20, seed="1")
    gaps = [(after.start_ns - before.start_ns) / NS_PER_S for before, after in pairwise(plan.arrivals)]
    assert gaps == pytest.approx([0.2] * len(gaps))


def test_poisson_arrivals_are_seeded_and_have_the_rate() -> None:
    """The same seed gives the same plan, another one another; mean and spread of the gaps are the same."""
    lengths_s = [2.0] * 4000
    plan = plan_arrivals(POISSON, Load(calls=8), lengths_s, seed="1")
    assert plan == plan_arrivals(POISSON, Load(calls=8), lengths_s, seed="1")
    assert plan != plan_arrivals(POISSON, Load(calls=8), lengths_s, seed="2")
    gaps = [(after.start_ns - before.start_ns) / NS_PER_S for before, after in pairwise(plan.scored)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.25, rel=0.05)  # 8 calls of 2 s: 4 a second
    assert math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) == pytest.approx(mean, rel=0.07)


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
@pytest.mark.parametrize("load", [Load(calls=20), Load(rate_per_s=10.0)])
def test_phases_have_their_share_of_the_calls(arrivals: str, load: Load) -> None:
    """A spike of four times the load has four times the calls a second; a ramp has the mean of its ends."""
    shape = LoadShape.model_validate(
        {
            "name": "x",
            "arrivals": arrivals,
            "phases": [
                {"name": "before", "seconds": 100},
                {"name": "spike", "seconds": 100, "load": 4},
                {"name": "ramp", "seconds": 100, "load": 4, "until": 0},
            ],
        }
    )
    plan = plan_arrivals(shape, load, [2.0], seed="3")
    counts = [sum(arrival.phase == place for arrival in plan.scored) for place in range(3)]
    expected = 100 * load.calls_a_second(2.0)
    assert counts == pytest.approx([expected, 4 * expected, 2 * expected], rel=0.1)


def test_a_phase_without_load_has_no_call() -> None:
    """And the plan goes on after it."""
    phases = (Phase(name="on", seconds=10), Phase(name="off", seconds=10, load=0), Phase(name="again", seconds=10))
    for arrivals in ("even", "poisson"):
        shape = LoadShape(name="x", arrivals=arrivals, phases=phases)
        counts = [
            sum(arrival.phase == place for arrival in plan_arrivals(shape, Load(calls=6), [1.0], seed="1").scored)
            for place in range(3)
        ]
        assert counts[1] == 0
        assert min(counts[0], counts[2]) > 30


def test_lengths_must_be_known() -> None:
    """Without them there is no plan."""
    with pytest.raises(ValueError, match="positive"):
        plan_arrivals(STEADY, Load(calls=1), [], seed="1")
