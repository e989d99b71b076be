"""Figures by stratum and by depth: speed of the answered turns beside patience."""

from __future__ import annotations

from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import Expectation
from turngap.verdict import groups, summary

from tests.harness import report_builders as builders


def answered(index: int, gap_ms: float, **changes: object) -> TurnRecord:
    return builders.turn(index, turn_gap_ms=gap_ms, **changes)


def test_speed_and_patience_of_each_stratum() -> None:
    """The gap of what was answered, and the cut-offs: one does not hide the other."""
    turns = [
        *(answered(i, 300.0 + i, stratum="sentence") for i in range(20)),
        *(answered(20 + i, 350.0, stratum="pause") for i in range(6)),
        *(builders.turn(30 + i, stratum="pause", outcome=Outcome.CUT_OFF) for i in range(4)),
        answered(40, 900.0, stratum="pause", outcome=Outcome.INVALID),
    ]
    strata = summary.compute_figures(turns)["strata"]
    assert list(strata) == ["pause", "sentence"]
    pause, sentence = strata["pause"], strata["sentence"]
    assert (pause.turn_gap_ms.n, pause.answered, pause.answered_p50_ms, pause.answered_p95_ms) == (10, 6, 350.0, 350.0)
    assert (pause.cut_off_rate.events, pause.cut_off_rate.n, pause.turn_gap_ms.p95) == (4, 10, None)
    assert (sentence.answered, sentence.answered_p50_ms, sentence.cut_off_rate.events) == (20, 309.5, 0)


def test_first_and_later_turns_of_a_call() -> None:
    """By the turn's place in its call; lead-ins and turns that nobody answers are in neither."""
    turns = [
        answered(0, 300.0, turn=0),
        answered(1, 500.0, turn=3),
        answered(2, 520.0, turn=1),
        answered(3, 100.0, turn=0, scored=False, lead_in=True),
        builders.turn(4, turn=2, expectation=Expectation.WAIT, outcome=Outcome.HELD),
    ]
    depths = summary.compute_figures(turns)["depths"]
    assert {name: (group.answered, group.answered_p50_ms) for name, group in depths.items()} == {
        groups.FIRST: (1, 300.0),
        groups.LATER: (2, 510.0),
    }


def test_one_kind_alone_is_no_group() -> None:
    """Its figures are those of the run."""
    figures = summary.compute_figures([answered(i, 300.0, turn=0, stratum="sentence") for i in range(3)])
    assert (figures["strata"], figures["depths"]) == ({}, {})
