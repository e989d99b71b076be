"""The figures of a point: gaps from the planned time, refused calls, phases, and a late instrument."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from turngap.capacity import shapes
from turngap.capacity.arrivals import Load
from turngap.capacity.call_log import LoadedCall
from turngap.capacity.figures import CallerUse, PointFacts, count_refused, find_gap_ms, make_point
from turngap.capacity.judgement import judge_loaded_run
from turngap.capacity.points import Decision
from turngap.capacity.saturation import Resources
from turngap.capacity.shapes import LoadShape
from turngap.model.records import CallEnd
from turngap.model.result import Check, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.scoring.score import score_call
from turngap.verdict import budget as budgets
from turngap.verdict.gate import Evidence

from tests.harness import report_builders as make
from tests.harness.builders import example_call, planned

S = 1_000_000_000
STEADY = shapes.load_shape("steady")


def facts(turns: list[TurnRecord], calls: list[LoadedCall] | None = None, **changes: Any) -> PointFacts:
    """A point of turns that are planned 2 s apart, each call 3 s long."""
    placed = calls or [
        LoadedCall(turn.call, 0, *[(10 + 2 * place) * S] * 3, (13 + 2 * place) * S, CallEnd.COMPLETED)
        for place, turn in enumerate(turns)
    ]
    values: dict[str, Any] = {
        "name": "2 calls at once",
        "slug": "2-calls",
        "load": Load(calls=2),
        "shape": STEADY,
        "attempt": 1,
        "call_s": 4.0,
        "shape_ns": 10 * S,
        "record": make.run_record(turns),
        "turns": turns,
        "calls": placed,
        "resources": Resources(cores=2),
        "caller": CallerUse(1, 0.3, 12.0),
    }
    return PointFacts(**{**values, **changes})


def steady_turns(n: int) -> list[TurnRecord]:
    return [make.turn(index, t1_ns=(12 + 2 * index) * S) for index in range(n)]


def test_a_late_start_counts_as_the_agents_delay() -> None:
    """The gap from the plan is longer by it, the one from t0 is not; a turn that was not answered has none."""
    late, missed = make.turn(0, start_delay_ms=3000.0), make.turn(1, outcome=Outcome.MISSED, start_delay_ms=5.0)
    assert find_gap_ms(late, "turn_gap_ms") == pytest.approx((late.turn_gap_ms or 0) + 3000)
    assert find_gap_ms(missed, "turn_gap_ms") is None
    turns = [*steady_turns(59), make.turn(59, start_delay_ms=3000.0, t1_ns=(12 + 2 * 59) * S)]
    point = make_point(facts(turns))
    assert (point.gap_ms.max or 0) > 3000 > (point.from_t0_ms.max or 0)


def test_scoring_notes_how_late_a_planned_call_began() -> None:
    """On the call's first scored turn; a call that was planned for no moment has no delay."""
    record = example_call().ends(4000)
    timed = replace(record, planned_ns=record.started_ns - 40_000_000, opened_ns=record.started_ns - 10_000_000)
    delays = [score_call(each, (), planned(), network_ms=0.0, cold=False)[0].start_delay_ms for each in (record, timed)]
    assert delays == [None, 30.0]


def test_loads_are_told_as_calls_under_way_and_as_a_rate() -> None:
    """3 s of each 2 s: 1.5 calls under way, half a call a second, and as many answers."""
    point = make_point(facts(steady_turns(60)))
    assert point.under_way.mean == pytest.approx(1.5, abs=0.02)
    assert point.under_way.peak == 2
    assert point.arrivals_per_s == pytest.approx(0.5)
    assert point.answered_per_s == pytest.approx(0.5)
    assert (point.call_length_s, point.calls_placed, point.n_turns) == (3.0, 60, 60)
    assert point.decision is Decision.MEASURED
    assert point.is_valid
    assert point.phases == ()


def test_rates_leave_out_the_pause_before_calls_that_come_again() -> None:
    """Nor does it matter on which clock a turn's times are: each node of a cluster has its own."""
    moved = [
        turn.model_copy(update={"t1_ns": (turn.t1_ns or 0) + turn.call % 2 * 10**6 * S}) for turn in steady_turns(60)
    ]
    calls = [
        LoadedCall(turn.call, 0, *[(10 + 2 * place) * S] * 3, (13 + 2 * place) * S, CallEnd.COMPLETED)
        for place, turn in enumerate(moved)
    ]
    calls[-1] = replace(calls[-1], planned_ns=999 * S, placed_ns=999 * S, opened_ns=999 * S, ended_ns=1002 * S)
    point = make_point(facts(moved, calls, record=make.run_record(steady_turns(60)), again_ns=990 * S))
    assert point.arrivals_per_s == pytest.approx(0.5)
    assert point.answered_per_s == pytest.approx(0.5)
    assert point.under_way.mean == pytest.approx(1.5, abs=0.02)
    assert point.calls_placed == 60


def test_refused_calls_are_those_that_brought_no_answer() -> None:
    """A refused upgrade, or an agent that hangs up before it has answered; not one that hangs up after an answer."""
    turns = [make.turn(0), make.turn(1, outcome=Outcome.FAILED), make.turn(2)]
    ends = [CallEnd.AGENT_CLOSED, CallEnd.AGENT_CLOSED, CallEnd.COMPLETED, CallEnd.REFUSED]
    calls = [LoadedCall(index, 0, 0, 0, None, S, end) for index, end in enumerate(ends)]
    assert count_refused(calls, turns) == 2


@pytest.mark.parametrize("name", ["lateness", "sentinel's spread", "calibration", "foreign load"])
def test_a_late_instrument_makes_the_point_invalid_not_slow(name: str) -> None:
    """With a budget the check failed, without one it is a warning: the point is INVALID either way."""
    for check in (
        Check(name=name, ok=False, text="it was late"),
        Check(name=name, ok=None, text="it was late", warning=True),
    ):
        run = make.run_record(steady_turns(60)).model_copy(update={"validity": (check,)})
        point = make_point(facts(steady_turns(60), record=run))
        assert point.decision is Decision.INVALID
        assert point.caller.reasons == ("it was late",)


def test_calls_that_we_placed_late_are_our_fault() -> None:
    """They lowered the load, and their delay would count as the agent's."""
    turns = steady_turns(60)
    calls = [
        LoadedCall(
            turn.call,
            0,
            (10 + 2 * place) * S,
            (10 + 2 * place) * S + S // 10,
            None,
            (13 + 2 * place) * S,
            CallEnd.COMPLETED,
        )
        for place, turn in enumerate(turns)
    ]
    point = make_point(facts(turns, calls))
    assert point.decision is Decision.INVALID
    assert "later than planned" in point.caller.reasons[0]


def test_phases_and_recovery_of_a_spike() -> None:
    """Each phase has its own calls and figures; the recovery counts from the spike's end."""
    shape = LoadShape.model_validate(
        {
            "name": "x",
            "recovery_of": "spike",
            "phases": [{"name": n, "seconds": 20} for n in ("before", "spike", "after")],
        }
    )
    turns = [
        make.turn(index, t1_ns=(12 + 2 * index) * S, turn_gap_ms=3000.0 if 10 <= index < 22 else 400.0)
        for index in range(30)
    ]
    calls = [
        LoadedCall(index, min(index // 10, 2), *[(10 + 2 * index) * S] * 3, (13 + 2 * index) * S, CallEnd.COMPLETED)
        for index in range(30)
    ]
    point = make_point(facts(turns, calls, shape=shape))
    assert [(phase.name, phase.calls, phase.gap_ms.max) for phase in point.phases] == [
        ("before", 10, 400.0),
        ("spike", 10, 3000.0),
        ("after", 10, 3000.0),
    ]
    assert point.phases[0].arrivals_per_s == 0.5
    assert point.recovery is not None
    assert (point.recovery.seconds, point.recovery.limit_ms) == (4.0, 400.0)


def judged(turns: list[TurnRecord]) -> Any:
    budget = budgets.load_budget("edge500-audio")
    evidence = Evidence(
        planned_turns=len(turns), complete=True, calibration_bias_ms=0.1, sentinel_bias_ms=0.1, sentinel_samples=0
    )
    return judge_loaded_run(turns, evidence, budget)


def test_a_gap_that_drifts_over_the_budget_fails_under_a_load() -> None:
    """In an ordinary run nobody knows why it drifts, and it is INVALID; here the load is why."""
    turns = [
        make.turn(index, turn_gap_ms=450.0 + 20 * index, substance_gap_ms=450.0 + 20 * index) for index in range(60)
    ]
    assert judged(turns).verdict is Verdict.FAIL


def test_turns_that_depend_on_each_other_pass_no_budget() -> None:
    """They are within it, and drift: a PASS would be worth less than it says."""
    calm = [make.turn(index, turn_gap_ms=300.0 + (index * 7) % 13, substance_gap_ms=310.0) for index in range(100)]
    drifting = [make.turn(index, turn_gap_ms=300.0 + index, substance_gap_ms=310.0) for index in range(100)]
    assert judged(calm).verdict is Verdict.PASS
    judgement = judged(drifting)
    assert judgement.verdict is Verdict.NOT_SHOWN
    assert "depend on each other" in judgement.sentence
