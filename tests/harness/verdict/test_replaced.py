"""Turns that our own lateness spoilt: set aside by lateness alone, called again, and judged in the plan's order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.verdict import replaced
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.gate import judge_run
from turngap.verdict.replaced import CallPlan

from tests.harness.verdict.test_gate import evidence, run, turn

OUTCOMES = (Outcome.ANSWERED, Outcome.MISSED, Outcome.CUT_OFF, Outcome.FAILED, Outcome.INVALID, Outcome.WRONG)


def call_plan(turns: int, warm_ups: int = 1) -> CallPlan:
    """A plan of so many calls of one turn, after warm-up calls."""
    calls = [
        PlannedCall(index, (Turn(id=f"t{index}", say="hello"),), probe=True, warm_up=index < warm_ups)
        for index in range(warm_ups + turns)
    ]
    return CallPlan.of(calls)


def make_turn(
    call: int, late_ms: float | None = 0.0, outcome: Outcome = Outcome.ANSWERED, **changes: object
) -> TurnRecord:
    """The scored turn of a call, with our lateness around its end of speech."""
    gap = None if outcome in (Outcome.MISSED, Outcome.FAILED) else 400.0
    return turn(call, gap, outcome, lateness_around_t0_ms=late_ms, **changes)


def test_a_late_turn_is_set_aside_and_called_again_under_a_number_of_its_own() -> None:
    """Call 3 of 11 (a warm-up included) is placed again as call 14; its turn stays, unscored."""
    plan = call_plan(10)
    turns = [make_turn(call, 6.0 if call == 3 else 5.0) for call in range(1, 11)]
    marked = replaced.mark_replaced(turns, plan)
    assert [each.call for each in marked if each.replaced] == [3]
    assert [each.scored for each in marked] == [not each.replaced for each in marked]
    assert replaced.list_repeats(marked, plan) == (14,)
    assert replaced.list_repeats([*marked, make_turn(14)], plan) == ()


def test_a_turn_is_called_again_twice_at_most() -> None:
    """The second repetition counts as it is, however late we were."""
    plan = call_plan(10)
    turns = [make_turn(call, 60.0 if call == 3 else 0.0) for call in range(1, 11)]
    turns += [make_turn(14, 60.0), make_turn(25, 60.0, Outcome.INVALID)]
    assert [each.call for each in replaced.mark_replaced(turns, plan) if each.replaced] == [3, 14]
    assert replaced.list_repeats(turns, plan) == ()
    assert replaced.select_decidable(turns, plan)[-1].call == 25


def test_a_fifth_of_the_planned_turns_is_called_again_at_most() -> None:
    """The first ones in the plan's order; the turns beyond them stay scored, as they are."""
    plan = call_plan(20)
    marked = replaced.mark_replaced([make_turn(call, 9.0) for call in range(1, 21)], plan)
    assert [each.call for each in marked if each.replaced] == [1, 2, 3, 4]
    assert sum(each.scored for each in marked) == 16


def test_turns_of_runs_that_did_not_record_it_and_calls_of_several_turns_are_left_alone() -> None:
    """Old folders have no such lateness; in a call of two scored turns one can't be repeated without the other."""
    plan = call_plan(5)
    old = [make_turn(1, None), make_turn(2, None)]
    two = [make_turn(3, 9.0), make_turn(3, 0.0, turn=1)]
    assert not any(each.replaced for each in replaced.mark_replaced([*old, *two], plan))


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from([0.0, 4.9, 5.1, 80.0])), min_size=1, max_size=40))
def test_outcome_and_gap_do_not_matter(calls: list[tuple[Outcome, float]]) -> None:
    """Whatever the agent did, the same calls are set aside."""
    plan = call_plan(len(calls))
    as_it_was = [make_turn(index, late, outcome) for index, (outcome, late) in enumerate(calls, 1)]
    all_answered = [make_turn(index, late) for index, (_, late) in enumerate(calls, 1)]
    first, second = (replaced.mark_replaced(turns, plan) for turns in (as_it_was, all_answered))
    assert [each.replaced for each in first] == [each.replaced for each in second]


@given(st.integers(2, 30), st.randoms(use_true_random=False), st.data())
@settings(max_examples=50)
def test_the_order_of_completion_does_not_matter(turns: int, shuffle: object, data: st.DataObject) -> None:
    """Of calls that end in any order the decidable turns are a stretch of the plan's order, and never change later."""
    plan = call_plan(turns)
    late = data.draw(st.lists(st.booleans(), min_size=turns, max_size=turns))
    ended = data.draw(st.permutations([make_turn(index, 9.0 * late[index - 1]) for index in range(1, turns + 1)]))
    whole = replaced.select_decidable(ended, plan)
    assert [each.call for each in whole] == sorted(each.call for each in whole)
    for n_turns in range(len(ended)):
        part = replaced.select_decidable(ended[:n_turns], plan)
        assert part == whole[: len(part)]


def test_a_slow_call_is_waited_for() -> None:
    """Calls 1, 2 and 4 have ended: the turns of 1 and 2 are decidable, that of 4 only once 3 has ended."""
    plan = call_plan(5)
    turns = [make_turn(call) for call in (4, 1, 2)]
    assert [each.call for each in replaced.select_decidable(turns, plan)] == [1, 2]
    assert [each.call for each in replaced.select_decidable([*turns, make_turn(3)], plan)] == [1, 2, 3, 4]


def test_calling_again_leaves_the_share_of_misses_as_it_is() -> None:
    """8,000 turns that miss 10 %, 5 % of them spoilt independently of that: the kept ones miss 10 % +- 1 %."""
    rng = np.random.default_rng(7)
    kept = misses = 0
    for _ in range(40):
        plan = call_plan(200)
        queue = list(plan.order)
        turns: list[TurnRecord] = []
        while queue:
            outcomes = [Outcome.MISSED if rng.random() < 0.1 else Outcome.ANSWERED for _ in queue]
            late = [9.0 if rng.random() < 0.05 else 0.0 for _ in queue]
            turns += [make_turn(*each) for each in zip(queue, late, outcomes, strict=True)]
            queue = list(replaced.list_repeats(turns, plan))
        scored = [each for each in replaced.mark_replaced(turns, plan) if each.scored]
        assert len(scored) == 200
        kept += len(scored)
        misses += sum(each.outcome is Outcome.MISSED for each in scored)
    assert abs(misses / kept - 0.1) < 0.01


def test_turns_that_are_worse_where_we_are_late_are_no_accident() -> None:
    """An agent that slows the instrument when it is slow itself would pass by being called again: that is INVALID."""
    budget = Budget(name="edge", limits=(Limit(metric="turn_gap_ms", at_most=500),))
    n_turns = 190
    late = [make_turn(200 + i, 9.0, Outcome.MISSED, replaced=True, scored=False) for i in range(4)]
    fine = [make_turn(200 + i, 9.0, Outcome.INVALID, replaced=True, scored=False) for i in range(4)]
    slow = [each.model_copy(update={"turn_gap_ms": 505.0}) for each in fine]  # late by 9 ms, so perhaps not over
    for aside, verdict in (([], Verdict.PASS), (fine, Verdict.PASS), (slow, Verdict.PASS), (late, Verdict.INVALID)):
        judged = judge_run([*run(n_turns), *aside], evidence(n_turns), budget)
        assert judged.verdict is verdict, judged.sentence
        assert [check.ok for check in judged.checks if check.name == "called again"] == [
            verdict is Verdict.PASS for _ in aside[:1]
        ]
    assert judge_run([*run(n_turns, over=40), *late], evidence(n_turns), budget).verdict is Verdict.FAIL
