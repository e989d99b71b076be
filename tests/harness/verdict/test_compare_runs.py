"""Two runs compared: paired where they say the same, a stage that moved is named, and the others are not."""

from __future__ import annotations

import pytest
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import compare
from turngap.verdict.compare import Change
from turngap_agent.tracing import Stage

from tests.harness import report_builders as make


def slow_down(turn: TurnRecord, by_ms: float) -> TurnRecord:
    """The turn with a longer first token."""
    assert turn.stages is not None
    assert turn.turn_gap_ms is not None
    first = turn.stages[Stage.FIRST_TOKEN]
    moved = first.model_copy(update={"exposed_ms": first.exposed_ms + by_ms})
    stages = turn.stages | {Stage.FIRST_TOKEN: moved}
    return turn.model_copy(update={"stages": stages, "turn_gap_ms": turn.turn_gap_ms + by_ms})


def test_the_stage_that_moved_is_named() -> None:
    """60 ms more in one stage: gap and stage are slower by that, all other stages the same; in reverse, faster."""
    base = make.turns(40)
    head = [slow_down(turn, 60.0) for turn in base]
    rows = {row.stage: row for row in compare.compare_turns(head, base)}
    assert all(row.paired for row in rows.values())
    assert rows[None].comparison.median_change_ms == pytest.approx(60)
    changed = {stage for stage, row in rows.items() if row.comparison.change is Change.SLOWER}
    assert changed == {None, Stage.FIRST_TOKEN}
    assert {row.comparison.change for stage, row in rows.items() if stage not in changed} == {Change.SAME}
    back = {row.stage: row.comparison.change for row in compare.compare_turns(base, head)}
    assert back[None] is back[Stage.FIRST_TOKEN] is Change.FASTER


def test_other_utterances_are_two_samples() -> None:
    """Runs that do not say the same are not paired; turns lost in one make it slower."""
    base = make.turns(40)
    rows = compare.compare_turns([slow_down(turn, 200.0) for turn in base[:30]], base)
    assert not any(row.paired for row in rows)
    assert rows[0].comparison.change is Change.SLOWER
    lost = [*base[:20], *(make.turn(index, outcome=Outcome.MISSED) for index in range(20, 40))]
    gap = compare.compare_turns(lost, base)[0]
    assert gap.paired
    assert gap.comparison.change is Change.SLOWER
    assert gap.comparison.median_change_ms is None


def test_nothing_to_compare() -> None:
    """A run without turns has no rows."""
    assert compare.compare_turns([], make.turns(3)) == []


def test_a_few_turns_find_no_difference() -> None:
    """Under six pairs the change is shown as seen, without interval or finding, and a note counts the pairs."""
    for count, words in ((1, "1 pair"), (5, "5 pairs")):
        base = make.turns(count)
        rows = compare.compare_turns([slow_down(turn, 600.0) for turn in base], base)
        assert rows[0].comparison.median_change_ms == pytest.approx(600)
        assert all(row.comparison.change is Change.TOO_FEW for row in rows)
        assert all((row.comparison.low_ms, row.comparison.high_ms) == (None, None) for row in rows)
        assert compare.describe_too_few(rows) == [f"{words}: too few to find a difference (6 are needed)"]
    assert compare.describe_too_few(compare.compare_turns(make.turns(6), make.turns(6))) == []


def test_a_few_turns_beside_many_find_no_difference() -> None:
    """Of two samples the smaller one counts."""
    rows = compare.compare_turns(make.turns(3), make.turns(40))
    assert rows[0].turns == "3, 40"
    assert compare.describe_too_few(rows) == ["3 turns: too few to find a difference (6 are needed)"]
