"""Two runs compared: paired where they say the same, a stage that moved is named, and the others are not."""

from __future__ import annotations

import pytest
from turngap.model.budget import Budget, Limit, Metric
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import comparison
from turngap.verdict.comparison import Change
from turngap_agent.tracing import Stage

from tests.harness import report_builders as make


def slow_down(turn: TurnRecord, by_ms: float) -> TurnRecord:
    """The turn with a longer first token."""
    assert turn.stages is not None
    assert turn.turn_gap_ms is not None
    first = turn.stages[Stage.FIRST_TOKEN]
    moved = first.model_copy(update={"exposed_ms": first.exposed_ms + by_ms})
    stages = turn.stages | {Stage.FIRST_TOKEN: moved}
    content_ms = None if turn.substance_gap_ms is None else turn.substance_gap_ms + by_ms
    later = {"turn_gap_ms": turn.turn_gap_ms + by_ms, "substance_gap_ms": content_ms}
    return turn.model_copy(update={"stages": stages, **later})


def test_the_stage_that_moved_is_named() -> None:
    """60 ms more in one stage: gap and stage are slower by that, all other stages the same; in reverse, faster."""
    base = make.turns(40)
    head = [slow_down(turn, 60.0) for turn in base]
    rows = {row.stage: row for row in comparison.compare_turns(head, base).rows}
    assert all(row.paired for row in rows.values())
    assert rows[None].found.median_change_ms == pytest.approx(60)
    changed = {stage for stage, row in rows.items() if row.found.change is Change.SLOWER}
    assert changed == {None, Stage.FIRST_TOKEN}
    assert {row.found.change for stage, row in rows.items() if stage not in changed} == {Change.SAME}
    back = {row.stage: row.found.change for row in comparison.compare_turns(base, head).rows}
    assert back[None] is back[Stage.FIRST_TOKEN] is Change.FASTER


def test_other_utterances_are_two_samples() -> None:
    """Runs that do not say the same are not paired; turns lost in one make it slower, and worse."""
    base = make.turns(40)
    others = [turn.model_copy(update={"utterance_id": f"other-{turn.call}"}) for turn in base[:30]]
    rows = comparison.compare_turns([slow_down(turn, 200.0) for turn in others], base).rows
    assert not any(row.paired for row in rows)
    assert rows[0].found.change is Change.SLOWER
    lost = [*base[:15], *(make.turn(index, outcome=Outcome.MISSED) for index in range(15, 40))]
    found = comparison.compare_turns(lost, base)
    gap = found.rows[0]
    assert gap.paired
    assert gap.found.change is Change.SLOWER
    assert gap.found.median_change_ms is None
    assert {row.name: row.change for row in found.measures}["missed_share"] is Change.WORSE


def test_a_run_that_stopped_early_is_paired_with_one_that_did_not() -> None:
    """Its utterances are all in the other; the rest is left out, and a note says so."""
    base = make.turns(40)
    found = comparison.compare_turns([slow_down(turn, 200.0) for turn in base[:30]], base)
    assert {(row.paired, row.n_head) for row in found.rows} == {(True, 30)}
    assert comparison.describe_too_few(found) == ["10 turns of utterances that only one of the runs has are left out"]


def test_an_invalid_turn_makes_no_pair() -> None:
    """Nor does one that was set aside and called again."""
    base = make.turns(40)
    spoilt = base[3].model_copy(update={"scored": False, "replaced": True, "outcome": Outcome.INVALID})
    head = [*base[:3], spoilt, *base[4:], base[3].model_copy(update={"call": 99})]
    assert comparison.compare_turns(head, base).rows[0].turns == "40 pairs"
    head[5] = head[5].model_copy(update={"outcome": Outcome.INVALID})
    assert comparison.compare_turns(head, base).rows[0].turns == "39 pairs"


def test_a_budget_says_which_turns_are_slow() -> None:
    """Its limit on the gap counts, at the media edge or as perceived."""
    base = make.turns(20)
    for metric, at_most in ((Metric.TURN_GAP, 500.0), (Metric.PERCEIVED_GAP, 500.0)):
        budget = Budget(name="b", limits=(Limit(metric=metric, at_most=at_most),))
        found = {row.name: row for row in comparison.compare_turns(base, base, budget).measures}
        over = [turn for turn in base if (getattr(turn, metric) or 0.0) > at_most]
        assert found["slow_share"].label == "turns over 500 ms"
        assert found["slow_share"].head == len(over) / 20


def test_nothing_to_compare() -> None:
    """A run without turns has no rows."""
    found = comparison.compare_turns([], make.turns(3))
    assert (found.rows, found.measures, found.change) == ((), (), Change.TOO_FEW)


def test_a_few_turns_find_no_difference() -> None:
    """Under seven pairs the change is shown as seen, without interval or finding, and a note counts the pairs."""
    for count, words in ((1, "1 pair"), (6, "6 pairs")):
        base = make.turns(count)
        found = comparison.compare_turns([slow_down(turn, 600.0) for turn in base], base)
        assert found.rows[0].found.median_change_ms == pytest.approx(600)
        assert all(row.found.change is Change.TOO_FEW for row in found.rows)
        assert all((row.found.low_ms, row.found.high_ms) == (None, None) for row in found.rows)
        assert found.change is Change.TOO_FEW
        assert comparison.describe_too_few(found) == [f"{words}: too few to find a difference (7 are needed)"]
    seven = make.turns(7)
    assert comparison.describe_too_few(comparison.compare_turns(seven, seven)) == []
    assert comparison.compare_turns([slow_down(turn, 600.0) for turn in seven], seven).change is Change.SLOWER


def test_a_few_turns_beside_many_find_no_difference() -> None:
    """Of two samples the smaller one counts."""
    few = [turn.model_copy(update={"utterance_id": f"other-{turn.call}"}) for turn in make.turns(3)]
    found = comparison.compare_turns(few, make.turns(40))
    assert found.rows[0].turns == "3, 40"
    assert comparison.describe_too_few(found) == ["3 turns: too few to find a difference (7 are needed)"]
