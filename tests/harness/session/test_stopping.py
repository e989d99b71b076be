"""When a run stops: at the first turn in the plan's order that decides it, whatever else has ended by then."""

from __future__ import annotations

from dataclasses import replace

from turngap.model.turn import Outcome, TurnRecord
from turngap.session import stopping
from turngap.session.stopping import Decided, StoppingRule
from turngap.verdict import sequential
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.stopping import plan_run

from tests.harness.verdict.test_gate import turn
from tests.harness.verdict.test_replaced import call_plan, make_turn

EDGE = Budget(name="edge", limits=(Limit(metric="turn_gap_ms", at_most=500),))
N = 190


def rule() -> StoppingRule:
    """The rule of a run of 190 turns, with one warm-up call."""
    plan = plan_run(EDGE, N)
    assert plan is not None
    return StoppingRule(EDGE, plan, call_plan(N))


def first_pass() -> int:
    """After how many turns without a miss the plan shows the limit to be met."""
    return rule().plan.limits[0].pass_from[0]


def good(calls: range) -> list[TurnRecord]:
    return [make_turn(call) for call in calls]


def test_the_first_look_decides_and_later_turns_do_not_undo_it() -> None:
    """Without a miss the run passes at the plan's first point; misses of calls that were under way change nothing."""
    at = first_pass()
    assert rule().decide(good(range(1, at))) is None
    decided = rule().decide(good(range(1, at + 1)))
    assert decided is not None
    assert (decided.turns, str(at) in decided.sentence) == (at, True)
    later = [make_turn(call, outcome=Outcome.MISSED) for call in range(at + 1, at + 8)]
    assert rule().decide([*good(range(1, at + 1)), *later]) == decided


def test_a_call_under_way_is_waited_for_before_anything_is_decided() -> None:
    """The turns behind it count only once it has ended, and if it is missed, nothing is decided by then."""
    at = first_pass()
    without = [each for each in good(range(1, at + 4)) if each.call != 10]
    assert rule().decide(without) is None
    assert rule().decide([*without, make_turn(10, outcome=Outcome.MISSED)]) is None
    decided = rule().decide([*without, make_turn(10)])
    assert decided is not None
    assert decided.turns == at


def test_what_was_asked_before_is_not_asked_again() -> None:
    """`asked` only saves time."""
    at = first_pass()
    turns = good(range(1, at + 1))
    assert rule().decide(turns, asked=at - 1) == rule().decide(turns)


def test_a_spoilt_turn_is_left_out_and_its_repetition_comes_last() -> None:
    """One more call is needed for each."""
    at = first_pass()
    turns = [make_turn(call, 9.0 if call == 5 else 0.0) for call in range(1, at + 2)]
    assert rule().decide(turns[:-1]) is None
    decided = rule().decide(turns)
    assert decided is not None
    assert decided.turns == at


def test_a_turn_that_stays_invalid_decides_nothing_in_the_agents_favour() -> None:
    """It counts as a miss where the verdict would be PASS."""
    at = first_pass()
    turns = [make_turn(call, outcome=Outcome.INVALID if call == 5 else Outcome.ANSWERED) for call in range(1, at + 1)]
    assert rule().decide(turns) is None


def test_the_judged_turns_are_those_that_decided() -> None:
    """Calls that ended beyond them are not among them; warm-up turns are, unscored."""
    at = first_pass()
    turns = [turn(0, warm_up=True, scored=False), *good(range(1, at + 5))]
    decided = rule().decide(turns)
    judged = stopping.select_judged(turns, rule(), decided)
    assert [each.call for each in judged] == list(range(at + 1))
    assert stopping.select_judged(turns, rule(), None) == tuple(turns)
    again = sequential.decide_early([each for each in judged if each.scored], EDGE, N, rule().plan)
    assert again.is_made


def test_a_hopeless_run_ends_after_a_few_turns() -> None:
    """Nobody waits for 190 calls to an agent that answers none."""
    decided = rule().decide([make_turn(call, outcome=Outcome.MISSED) for call in range(1, 21)])
    assert decided is not None
    assert decided.turns <= 5
    assert decided == rule().decide([make_turn(call, outcome=Outcome.MISSED) for call in range(1, decided.turns + 1)])


def test_a_plan_for_one_look_never_stops_a_run() -> None:
    """A budget may ask for one test at the end."""
    budget = EDGE.model_copy(update={"sequential": False})
    plan = plan_run(budget, N)
    assert plan is not None
    fixed = replace(rule(), budget=budget, plan=plan)
    assert fixed.decide([make_turn(call, outcome=Outcome.MISSED) for call in range(1, 60)]) is None
    assert isinstance(rule().decide([make_turn(call, outcome=Outcome.MISSED) for call in range(1, 60)]), Decided)
