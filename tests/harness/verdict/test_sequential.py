"""When a run with a budget is decided: by the plan, at the turn that decides it, and as the gate then judges it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.model.result import Verdict
from turngap.model.turn import Outcome
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.gate import Evidence, judge_run
from turngap.verdict.limits import LimitState, judge_budget, judge_limit
from turngap.verdict.sequential import DecisionKind, decide_early

from benchmarks.gate_simulation import stop_runs
from tests.harness.verdict.test_gate import EDGE, turn

PLANNED = 190
PLAN = stopping.plan_run(EDGE, PLANNED)
assert PLAN is not None
OWN = stopping.find_plan(PLAN, EDGE.limits[0])
assert OWN is not None
KNOWN = Evidence(
    planned_turns=PLANNED,
    complete=True,
    calibration_bias_ms=0.1,
    sentinel_bias_ms=0.2,
    sentinel_samples=50,
    stopped_early="decided",
)


def gaps(over: list[bool]) -> list[object]:
    return [turn(index, 600.0 if late else 400.0 + (17 * index) % 31) for index, late in enumerate(over)]


def first_decision(over: list[bool], budget: Budget = EDGE) -> tuple[int, DecisionKind]:
    """After how many turns the run is decided, and how; all turns if it is not."""
    turns = gaps(over)
    for n in range(1, len(turns) + 1):
        decision = decide_early(turns[:n], budget, PLANNED)  # type: ignore[arg-type]
        if decision.is_made:
            assert f"after {n} of 190 planned turns" in decision.sentence
            return n, decision.kind
    return len(turns), DecisionKind.CONTINUE


def test_no_turn_over_passes_at_the_first_look() -> None:
    """And with one over, at the second: the plan's points."""
    first, second = OWN.pass_from[:2]
    assert first_decision([False] * PLANNED) == (first, DecisionKind.PASS_SHOWN)
    assert first_decision([True] + [False] * (PLANNED - 1)) == (second, DecisionKind.PASS_SHOWN)


def test_an_agent_far_over_fails_within_a_few_turns() -> None:
    """Every turn over: three of the first six show it."""
    assert first_decision([True] * PLANNED) == (3, DecisionKind.FAIL_SHOWN)


def test_a_run_that_cannot_pass_any_more_ends() -> None:
    """The fifth turn over, too late to show FAIL: NOT SHOWN whatever follows."""
    over = [place % 20 == 19 for place in range(PLANNED)]
    assert first_decision(over) == (100, DecisionKind.OUT_OF_REACH)


def test_invalid_turns_are_judged_both_ways() -> None:
    """One that stays invalid may have been over: PASS comes where one over is allowed, and FAIL counts it as none."""
    second = OWN.pass_from[1]
    turns = [turn(index, 450.0, Outcome.INVALID if index == 7 else Outcome.ANSWERED) for index in range(second)]
    assert not decide_early(turns[:-1], EDGE, PLANNED).is_made
    assert decide_early(turns, EDGE, PLANNED).kind is DecisionKind.PASS_SHOWN
    spoilt = [turn(index, 600.0, Outcome.INVALID) for index in range(6)]
    assert not decide_early(spoilt, EDGE, PLANNED).is_made


def test_a_budget_can_ask_for_all_turns() -> None:
    """`sequential: false`: nothing is decided before the end, and the gate judges once."""
    fixed = EDGE.model_copy(update={"sequential": False})
    assert first_decision([True] * PLANNED, fixed) == (PLANNED, DecisionKind.CONTINUE)
    plan = stopping.plan_run(fixed, PLANNED)
    turns = [turn(index, 600.0 if index % 40 == 5 else 400.0 + (17 * index) % 31) for index in range(PLANNED)]
    assert judge_run(turns, KNOWN, fixed, plan).verdict is Verdict.NOT_SHOWN
    turns[5] = turn(5, 400.0)
    assert judge_run(turns, KNOWN, fixed, plan).verdict is Verdict.PASS


def test_every_limit_must_be_shown_to_be_met() -> None:
    """A second limit that is not measured keeps the run going; one that is missed ends it."""
    stage = Limit(metric="stages.first_audio", at_most=20)
    both = EDGE.model_copy(update={"limits": (*EDGE.limits, stage)})
    assert first_decision([False] * PLANNED, both)[1] is DecisionKind.PASS_SHOWN
    bare = [turn(index, 400.0 + index % 7, stages=None) for index in range(150)]
    assert not decide_early(bare, both, PLANNED).is_made
    slow = both.model_copy(update={"limits": (*EDGE.limits, stage.model_copy(update={"at_most": 5}))})
    assert first_decision([False] * PLANNED, slow)[1] is DecisionKind.FAIL_SHOWN


def test_words_are_judged_at_the_plans_looks() -> None:
    """Not in between, and each at its share of the level; without weights they are left out."""
    budget = EDGE.model_copy(update={"limits": (*EDGE.limits, Limit(metric="wer", at_most=0.05))})
    plan = stopping.plan_run(budget, PLANNED)
    assert plan is not None
    assert plan.looks == (OWN.pass_from[0], PLANNED)
    assert sum(plan.shares) == 1
    assert first_decision([False] * PLANNED, budget) == (plan.looks[0], DecisionKind.PASS_SHOWN)
    silent = [turn(n, 400.0, transcript=None, wer=None, word_errors=None, words=None) for n in range(plan.looks[0])]
    assert not decide_early(silent, budget, PLANNED).is_made
    assert decide_early(silent, budget, PLANNED, weightless=True).kind is DecisionKind.PASS_SHOWN


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.002, 0.01, 0.03, 0.05, 0.1, 0.3]))
def test_the_gate_judges_as_it_was_decided(seed: int, misses: float) -> None:
    """PASS, FAIL and NOT SHOWN of the turns that decided the run are the decision; and the benchmark's are the same."""
    over = np.random.default_rng(seed).random(PLANNED) < misses
    n, kind = first_decision([bool(each) for each in over])
    turns = gaps([bool(each) for each in over[:n]])
    judged = judge_run(turns, KNOWN, EDGE, PLAN)  # type: ignore[arg-type]
    end, met, missed = stop_runs(OWN, over[None, :])
    assert (n, met[0]) == (end[0], judged.verdict is Verdict.PASS or (met[0] and judged.verdict is Verdict.INVALID))
    if judged.verdict is not Verdict.INVALID:
        known = {DecisionKind.PASS_SHOWN: Verdict.PASS, DecisionKind.FAIL_SHOWN: Verdict.FAIL}
        expected = known.get(kind, Verdict.PASS if met[0] else Verdict.NOT_SHOWN)
        assert judged.verdict is expected
        assert missed[0] == (judged.verdict is Verdict.FAIL)


def test_what_is_shown_once_stands() -> None:
    """A limit that was shown to be met is not lost to later misses while another limit keeps the run going."""
    budget = EDGE.model_copy(update={"limits": (*EDGE.limits, Limit(metric="missed_rate", at_most=0.04))})
    plan = stopping.plan_run(budget, PLANNED)
    first, other = (stopping.find_plan(plan, limit) for limit in budget.limits)
    assert first is not None
    assert other is not None
    assert first.pass_from[0] < other.pass_from[0]
    late = set(range(first.pass_from[0], other.pass_from[0], 3))  # from the turn after the one that shows it
    assert len(late) >= 2
    turns = [turn(n, 600.0 if n in late else 400.0 + (17 * n) % 31) for n in range(other.pass_from[0])]
    decided = [decide_early(turns[:n], budget, PLANNED, plan) for n in range(1, len(turns) + 1)]
    assert [each.is_made for each in decided] == [False] * (len(turns) - 1) + [True]
    assert decided[-1].kind is DecisionKind.PASS_SHOWN
    results = judge_budget(budget, turns, KNOWN, plan, ended=False)
    assert [result.state for result in results] == [LimitState.WITHIN, LimitState.WITHIN]
    assert f"shown by the first {first.pass_from[0]} turns" in results[0].text
    more = [*turns, *(turn(n, 700.0) for n in range(len(turns), PLANNED))]
    assert judge_budget(budget, more, KNOWN, plan, ended=True)[0].state is LimitState.WITHIN


def test_a_word_error_rate_that_was_shown_stands() -> None:
    """By the first look; errors after it change nothing, and errors before it leave it to the end."""
    limit = Limit(metric="wer", at_most=0.05)
    budget = EDGE.model_copy(update={"limits": (*EDGE.limits, limit)})
    plan = stopping.plan_run(budget, PLANNED)
    assert plan is not None
    look = plan.looks[0]
    good = [turn(n, 400.0 + (17 * n) % 31) for n in range(PLANNED)]
    wrong = [turn(n, 400.0, word_errors=good[n].words, wer=1.0) for n in range(PLANNED)]
    after = [*good[:look], *wrong[look : look + 30], *good[look + 30 :]]
    before = [*wrong[:20], *good[20:]]
    for turns, state in ((good, LimitState.WITHIN), (after, LimitState.WITHIN)):
        assert judge_limit(limit, turns, KNOWN, plan).state is state
        assert judge_limit(limit, turns[:look], KNOWN, plan, ended=False).state is state
    assert judge_limit(limit, before[:look], KNOWN, plan, ended=False).state is not LimitState.WITHIN
    assert judge_limit(limit, good[: look - 1], KNOWN, plan, ended=False).state is LimitState.NEITHER


def test_a_pass_says_what_it_assumes() -> None:
    """Few turns exclude no runs of three: the sentence says so; a budget with `bursts: 3` asks for more turns."""
    turns = gaps([False] * OWN.pass_from[0])
    sentence = judge_run(turns, KNOWN, EDGE, PLAN).sentence  # type: ignore[arg-type]
    assert "come singly" in sentence
    assert "168 turns with none over" in sentence
    robust = EDGE.model_copy(update={"bursts": 3})
    decided, kind = first_decision([False] * PLANNED, robust)
    assert (decided >= 168, kind) == (True, DecisionKind.PASS_SHOWN)
    plan = stopping.plan_run(robust, PLANNED)
    assert "come singly" not in judge_run(gaps([False] * decided), KNOWN, robust, plan).sentence  # type: ignore[arg-type]


def test_the_plan_keeps_more_than_it_promises() -> None:
    """A run with several limits keeps 5 % for FAIL in all; every limit its own 5 % for PASS."""
    limits = (*EDGE.limits, Limit(metric="missed_rate", at_most=0.05), Limit(metric="cut_off_rate", at_most=0.05))
    plan = stopping.plan_run(EDGE.model_copy(update={"limits": limits}), PLANNED)
    assert plan is not None
    assert [one.metric for one in plan.limits] == ["turn_gap_ms", "missed_rate", "cut_off_rate"]
    for limit in limits:
        own = stopping.find_plan(plan, limit)
        assert own is not None
        assert own.power(0.05) <= 0.05
        assert own.course(0.05).fails <= 0.05 / 3
    assert stopping.plan_run(EDGE, 0) is None


@pytest.mark.parametrize("field", ["power", "mean_turns"])
def test_the_record_states_power_and_length(field: str) -> None:
    """As computed from the plan, for an agent with a fifth of what the limit allows."""
    (own,) = PLAN.limits  # type: ignore[union-attr]
    exact = {"power": OWN.power(0.01), "mean_turns": OWN.expected_turns(0.01)}[field]
    assert getattr(own, field) == pytest.approx(exact, abs=0.06)


@pytest.mark.parametrize(("planned", "allowed"), [(59, 0), (93, 1), (124, 2), (153, 3), (181, 4)])
def test_a_short_plan_still_passes_with_as_many_misses_as_it_can(planned: int, allowed: int) -> None:
    """The reserve is not kept where it would cost a miss: 59 turns without one pass."""
    plan = stopping.plan_run(EDGE, planned)
    own = stopping.find_plan(plan, EDGE.limits[0])
    assert own is not None
    assert own.allowed(planned) == allowed
    assert own.power(0.05) <= 0.05
