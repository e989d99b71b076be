"""The verdict on recordings: limits that they can answer are judged, others are named, and ends must be firm."""

from __future__ import annotations

import pytest
from turngap.model.budget import Budget, Limit
from turngap.model.result import Verdict
from turngap.model.turn import TurnRecord
from turngap.recordings.judgement import judge_recordings, move_gap
from turngap.recordings.sides import make_stretch
from turngap.recordings.speech import Edge, Stretch
from turngap.recordings.talk import follow_floor
from turngap.recordings.turns import score_recorded_call


def make_turns(gaps_ms: list[float], uncertainty_ms: float = 0.0) -> list[TurnRecord]:
    """Return one turn a call with these gaps; only the caller's end is uncertain."""
    turns = []
    for call, gap_ms in enumerate(gaps_ms):
        end = Edge(2000, 2000 - uncertainty_ms, 2000 + uncertainty_ms)
        caller = (Stretch(Edge(1000, 1000, 1000), end, -20),)
        spurts = follow_floor(caller, (make_stretch(2000 + gap_ms, 6000 + gap_ms),), 10_000)
        turns += score_recorded_call(spurts, 10_000, call=call, name=f"c{call}", file=f"c{call}.wav", network_ms=0.0)
    return turns


GAPS = [400.0 + (7 * at) % 41 for at in range(120)]
TURN_GAP = Limit(metric="turn_gap_ms", at_most=500.0)


def judge(turns: list[TurnRecord], *limits: Limit, by_hand: bool = False) -> tuple[Verdict, str, str]:
    budget = Budget(name="mine", limits=limits) if limits else None
    judged = judge_recordings(turns, budget, uncertainty_ms=5.0, by_hand=by_hand)
    return judged.verdict, judged.sentence, " ".join(judged.reasons)


def test_without_a_budget_it_is_measured() -> None:
    """And says that ends are found."""
    verdict, sentence, _ = judge(make_turns([500.0, 700.0]))
    assert verdict is Verdict.MEASURED
    assert "ends of speech are found, not known" in sentence


def test_a_limit_on_the_gap_is_judged_from_one_turn_a_recording() -> None:
    """PASS, FAIL and INVALID for too few, as of any run."""
    assert judge(make_turns(GAPS), TURN_GAP)[0] is Verdict.PASS
    assert judge(make_turns([gap + 200 for gap in GAPS]), TURN_GAP)[0] is Verdict.FAIL
    assert judge(make_turns(GAPS[:20]), TURN_GAP)[0] is Verdict.INVALID


def test_ends_that_are_not_firm_enough_show_nothing() -> None:
    """The verdict must be the same with every gap at its shortest and at its longest."""
    verdict, _, reasons = judge(make_turns(GAPS, uncertainty_ms=90.0), TURN_GAP)
    assert verdict is Verdict.NOT_SHOWN
    assert "not firm enough" in reasons
    assert judge(make_turns(GAPS, uncertainty_ms=30.0), TURN_GAP)[0] is Verdict.PASS


@pytest.mark.parametrize(
    "metric", ["underrun_rate", "truncated_rate", "false_stop_rate", "intruded_rate", "wer", "cut_off_rate"]
)
def test_what_a_recording_cannot_say_is_no_pass(metric: str) -> None:
    """A rate that would always be 0 is not judged: the limit is named, with what to do."""
    verdict, _, reasons = judge(make_turns(GAPS), TURN_GAP, Limit(metric=metric, at_most=0.1))
    assert verdict is Verdict.INVALID
    assert f"`{metric}` is not known from a recording" in reasons


def test_cut_offs_are_judged_by_ends_that_are_known() -> None:
    """Set by hand, an end is an end."""
    cut_offs = Limit(metric="cut_off_rate", at_most=0.1)
    assert judge(make_turns(GAPS), TURN_GAP, cut_offs, by_hand=True)[0] is Verdict.PASS


def test_turns_of_one_call_make_no_bound() -> None:
    """They are not independent; the remedy is recordings with one turn each."""
    turns = [turn.model_copy(update={"call": 0}) for turn in make_turns(GAPS)]
    verdict, _, reasons = judge(turns, TURN_GAP)
    assert verdict is Verdict.INVALID
    assert "recordings with one turn each" in reasons


def test_a_moved_gap_keeps_its_network() -> None:
    """The perceived gap moves with it."""
    (turn,) = make_turns([500.0], uncertainty_ms=40.0)
    turn = turn.model_copy(update={"perceived_gap_ms": 600.0})
    moved = move_gap(turn, "gap_high_ms")
    assert (moved.turn_gap_ms, moved.perceived_gap_ms) == (540, 640)
