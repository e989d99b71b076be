"""Dominance between settings, and their difference from the first."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.result import Check
from turngap.model.turn import Outcome
from turngap.sweeps.points import Goals, difference, dominates, dominators, make_points
from turngap.verdict.comparison import Change

from tests.harness import report_builders as make

GOAL = st.sampled_from([0.0, 1.0, 2.0, 3.5, math.inf])
GOALS = st.tuples(GOAL, GOAL, GOAL)
SEVERAL = st.lists(GOALS, min_size=1, max_size=12)


@given(GOALS, GOALS, GOALS)
def test_dominance_is_a_strict_order(a: Goals, b: Goals, c: Goals) -> None:
    """Nothing dominates itself, no two dominate each other, and dominance is transitive."""
    assert not dominates(a, a)
    assert not (dominates(a, b) and dominates(b, a))
    if dominates(a, b) and dominates(b, c):
        assert dominates(a, c)


@given(GOALS, st.integers(0, 2))
def test_better_in_one_and_equal_elsewhere_dominates(a: Goals, at: int) -> None:
    """By however little; the other way round it does not."""
    worse = tuple(value + 1 if place == at else value for place, value in enumerate(a))
    assert dominates(a, worse) == (a[at] != math.inf)
    assert not dominates(worse, a)


@given(SEVERAL)
def test_the_front_is_what_nothing_dominates(goals: list[Goals]) -> None:
    """It is never empty, and whatever is dominated is so by a member of it."""
    above = dominators(goals)
    front = [one for one, over in zip(goals, above, strict=True) if over is None]
    assert front
    for one, over in zip(goals, above, strict=True):
        assert (over is not None) == any(dominates(other, one) for other in goals)
        if over is not None:
            assert dominates(goals[over], one)
            assert above[over] is None


@given(SEVERAL, st.randoms())
def test_the_order_of_the_settings_does_not_matter(goals: list[Goals], rng: random.Random) -> None:
    """The same ones are dominated, in whatever order."""
    mixed = list(goals)
    rng.shuffle(mixed)
    front = sorted(one for one, over in zip(goals, dominators(goals), strict=True) if over is None)
    assert front == sorted(one for one, over in zip(mixed, dominators(mixed), strict=True) if over is None)


@given(SEVERAL, st.data())
def test_a_dominated_newcomer_changes_nothing(goals: list[Goals], data: st.DataObject) -> None:
    """The front stays as it was."""
    one = data.draw(st.sampled_from(goals))
    worse = tuple(value + 1 for value in one)
    before, after = dominators(goals), dominators([*goals, worse])
    assert after[:-1] == before
    assert after[-1] is not None or one == worse  # infinity is as bad as infinity and one


def test_a_difference_is_of_pairs_that_both_answered() -> None:
    """The change is that of the utterances; a pair with a failure is left out and counted, an invalid one is none."""
    base = make.turns(12)
    slower = [turn.model_copy(update={"turn_gap_ms": (turn.turn_gap_ms or 0.0) + 100.0}) for turn in base]
    slower[3] = slower[3].model_copy(update={"outcome": Outcome.CUT_OFF, "turn_gap_ms": -200.0})
    slower[4] = slower[4].model_copy(update={"outcome": Outcome.INVALID})
    interval = difference(slower, base)
    assert interval is not None
    assert (interval.pairs, interval.left_out) == (10, 1)
    assert interval.median_change_ms == pytest.approx(100.0)
    assert (interval.low_ms, interval.high_ms) == (pytest.approx(100.0), pytest.approx(100.0))
    assert interval.change is Change.SLOWER


def test_few_pairs_have_no_interval() -> None:
    """Five are counted, without an interval; where there is none, there is no difference."""
    interval = difference(make.turns(5, scale=2.0), make.turns(5))
    assert interval is not None
    assert (interval.pairs, interval.median_change_ms, interval.low_ms) == (5, None, None)
    assert difference(make.turns(3), []) is None


def test_points_know_what_dominates_them() -> None:
    """Slower with as many cut-offs is dominated by the faster; faster with more cut-offs is not."""
    plain, slow = make.turns(20), make.turns(20, scale=1.5)
    fast = make.turns(20, scale=0.5)
    fast[0] = make.turn(0, scale=0.5, outcome=Outcome.CUT_OFF)
    given_ = [("plain", plain), ("slow", slow), ("fast", fast)]
    points = make_points([(name, name, name == "plain", make.run_record(turns), turns) for name, turns in given_])
    # One cut-off in twenty counts as later than any other turn, and p95 is among them.
    assert [point.dominated_by for point in points] == [None, "plain", None]
    assert [point.current for point in points] == [True, False, False]
    assert points[0].difference is None
    assert points[2].difference is not None
    assert (points[2].cut_off_rate.events, points[2].answered) == (1, 19)
    assert points[0].first_clause_words == 2.0


def test_nothing_dominates_on_a_handful_of_turns() -> None:
    """Five turns are too few to be dominated, whatever their outcomes; and they dominate none."""
    few, plain = make.turns(5, scale=0.5), make.turns(20)
    points = make_points(
        [(name, name, False, make.run_record(turns), turns) for name, turns in (("few", few), ("plain", plain))]
    )
    assert [point.dominated_by for point in points] == [None, None]
    slow = make.turns(5, scale=1.5)
    points = make_points(
        [(name, name, False, make.run_record(turns), turns) for name, turns in (("slow", slow), ("plain", plain))]
    )
    assert [point.dominated_by for point in points] == [None, None]


def test_a_point_lists_the_warnings_of_its_run() -> None:
    """The warnings of its run's checks, by name; what holds, or makes it invalid, is elsewhere."""
    checks = (
        Check(name="machine", ok=None, text="1.2 % of its time was stolen", warning=True),
        Check(name="frames", ok=True, text="sent in time"),
    )
    record = make.run_record(make.turns(8)).model_copy(update={"validity": checks})
    (point,) = make_points([("one", "one", True, record, make.turns(8))])
    assert point.take_care == ("machine: 1.2 % of its time was stolen",)
