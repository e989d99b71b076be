"""The plans of whole budgets on the gate's turns: what a faultless run can pass, and that plan and product agree."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from turngap.api import load_scenario
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import plan_calls
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Limit, load_budget
from turngap.verdict.gate import Evidence
from turngap.verdict.limits import LimitState, judge_budget
from turngap.verdict.planned import PlannedTurn, find_own, list_planned
from turngap.verdict.sequential import DecisionKind, decide_early
from turngap.verdict.stopping import turns_needed
from turngap.verdict.word_errors import wer_upper

from benchmarks.whole_gate import Drawn, draw_rates, draw_words, end_runs
from tests.harness.verdict.test_gate import turn

SUB500 = load_budget("sub500")


@lru_cache
def planned_turns(n_turns: int | None = None) -> tuple[PlannedTurn, ...]:
    """The scored turns of the gate, or of as many as `--turns` says."""
    return list_planned(plan_calls(load_scenario("gate"), n_turns=n_turns))


def make_turns(planned: tuple[PlannedTurn, ...], drawn: Drawn, run: int = 0) -> list[TurnRecord]:
    turns = []
    for place, one in enumerate(planned):
        cut, late = bool(drawn.cut[run, place]), bool(drawn.late[run, place])
        times = {"perceived_gap_ms": 600.0 if late else 400.0, "perceived_substance_ms": 600.0 if late else 400.0}
        words = {"words": one.words, "word_errors": int(drawn.errors[run, place])}
        underruns = (30.0,) if drawn.underrun[run, place] else ()
        more = {**times, **words, "pause_ms": 400.0 if one.pauses else 0.0, "underruns_ms": underruns}
        turns.append(turn(place, 400.0, Outcome.CUT_OFF if cut else Outcome.ANSWERED, reply_ms=900.0, **more))
    return turns


def decide(turns: list[TurnRecord], planned: tuple[PlannedTurn, ...]) -> tuple[int, DecisionKind]:
    plan = stopping.plan_run(SUB500, planned)
    for n in range(1, len(turns) + 1):
        decision = decide_early(turns[:n], SUB500, len(planned), plan)
        if decision.is_made:
            return n, decision.kind
    return len(turns), DecisionKind.CONTINUE


@pytest.mark.parametrize("n_turns", [59, 87, 94, 100, 124, 150, 190, None])
def test_a_faultless_run_passes_if_and_only_if_the_turns_suffice(n_turns: int | None) -> None:
    """With as many turns as `turns_needed` says all limits of `sub500` are shown; never with fewer."""
    planned = planned_turns(n_turns)
    turns = make_turns(planned, draw_rates()(np.random.default_rng(0), 1, list(planned)))
    end, kind = decide(turns, planned)
    plan = stopping.plan_run(SUB500, planned)
    known = Evidence(planned_turns=len(planned), complete=True)
    results = judge_budget(SUB500, turns[:end], known, plan, ended=end == len(planned))
    passes = all(result.state is LimitState.WITHIN for result in results)
    assert passes == (len(planned) >= turns_needed(SUB500, planned))
    assert passes == (len(planned) >= 94)
    if n_turns in (190, None):
        assert (end, kind) == (112, DecisionKind.PASS_SHOWN)


def test_the_turns_needed_are_those_of_the_real_bound() -> None:
    """One turn fewer does not show it."""
    planned = planned_turns()
    words = [one.words for one in planned]
    wer = Budget(name="wer", limits=(Limit(metric="wer", at_most=0.05),))
    needed = turns_needed(wer, planned)
    assert wer_upper([0] * needed, words[:needed]) <= 0.05 < wer_upper([0] * (needed - 1), words[: needed - 1])
    assert turns_needed(SUB500, planned) == find_own(SUB500.limits[4], planned)[28]
    assert turns_needed(Budget(name="p", limits=(Limit(metric="pause_cut_off_rate", at_most=0.1),))) == 59


def test_each_limit_is_planned_for_its_own_turns() -> None:
    """64 of the gate's turns have a pause; of a scenario without such turns the plan is for all."""
    planned = planned_turns()
    plan = stopping.plan_run(SUB500, planned)
    assert plan is not None
    assert {one.metric: one.turns for one in plan.limits} == {
        "perceived_gap_ms": 206,
        "perceived_substance_ms": 206,
        "cut_off_rate": 206,
        "pause_cut_off_rate": 64,
        "underrun_rate": 206,
    }
    for limit in SUB500.limits:
        own = stopping.find_plan(plan, limit)
        assert own is None or own.power(limit.miss_rate) <= 0.05
    assert find_own(SUB500.limits[4], [PlannedTurn()] * 3) == [1, 2, 3]


def test_both_looks_keep_the_level_together() -> None:
    """Half of it each; a short run has one look, at its end, and all of it."""
    plan, short = (stopping.plan_run(SUB500, planned_turns(n_turns)) for n_turns in (None, 100))
    assert plan is not None
    assert short is not None
    assert (plan.looks, plan.shares) == ((112, 206), (0.5, 0.5))
    assert (short.looks, short.shares) == ((100,), (1.0,))


@pytest.mark.parametrize("seed", range(6))
def test_the_benchmark_decides_as_the_product_does(seed: int) -> None:
    """The same turn and the same verdict, for runs with late turns, cut-offs, underruns and word errors."""
    planned = planned_turns()
    plan = stopping.plan_run(SUB500, planned)
    assert plan is not None
    rates = draw_rates(0.02, 0.01, 0.05, 0.02)(np.random.default_rng(seed), 1, list(planned))
    words = draw_words("clustered", 0.01)(np.random.default_rng(seed), 1, list(planned))
    drawn = Drawn(rates.late, rates.cut, rates.underrun, words.errors, words.words)
    ended = end_runs(SUB500, plan, list(planned), drawn)
    turns = make_turns(planned, drawn)
    end, kind = decide(turns, planned)
    assert end == ended.turns[0]
    known = Evidence(planned_turns=len(planned), complete=True)
    results = judge_budget(SUB500, turns[:end], known, plan, ended=end == len(planned))
    assert ended.passed[0] == all(result.state is LimitState.WITHIN for result in results)
    assert ended.failed[0] == any(result.state is LimitState.OVER for result in results)
    assert ended.passed[0] or kind is not DecisionKind.PASS_SHOWN


def test_a_run_that_is_too_short_for_the_words_is_told_so() -> None:
    """59 turns of the gate can't show the word error rate of `edge500`: more are needed than are planned."""
    planned = planned_turns(59)
    assert turns_needed(load_budget("edge500"), planned) == 60
    assert turns_needed(load_budget("edge500-audio"), planned) == 59
