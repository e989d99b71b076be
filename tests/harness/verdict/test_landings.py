"""The landings of a run: counts, percentiles, and what is not known."""

from __future__ import annotations

import pytest
from turngap.model.landing import Landing
from turngap.model.turn import Outcome
from turngap.verdict import landings, summary
from turngap.verdict.comparison import compare_turns, make_notes

from tests.harness import report_builders as make

SOFT = Landing(starts=1, heard_ms=300, gave_way_ms=60, gap_ms=450, lost_words=0, answered_whole=True, soft=True)
HARD = SOFT.model_copy(
    update={
        "heard_ms": 900.0,
        "gave_way_ms": 800.0,
        "gap_ms": None,
        "lost_words": 2,
        "answered_whole": False,
        "soft": False,
    }
)
OPEN = SOFT.model_copy(update={"lost_words": None, "answered_whole": None, "soft": None})


def cut_off(index: int, landing: Landing | None) -> object:
    return make.turn(index, outcome=Outcome.CUT_OFF).model_copy(update={"landing": landing})


def test_the_figures() -> None:
    """Each count has its own unknowns; the gap is that of those that were answered."""
    found = landings.pool_landings([cut_off(0, SOFT), cut_off(1, SOFT), cut_off(2, HARD), cut_off(3, OPEN)])
    assert found is not None
    assert (found.cut_offs, found.soft, found.soft_unknown) == (4, 2, 1)
    assert (found.words_lost, found.words_unknown, found.answered_whole, found.whole_unknown) == (1, 1, 2, 1)
    assert (found.heard_p50_ms, found.heard_p95_ms) == (300, pytest.approx(810))
    assert (found.gap_p50_ms, found.gap_p95_ms) == (450, 450)
    assert landings.describe_landings(found) == (
        "of 4 landed softly: 2 (not known in 1); heard too soon 300 ms (p95 810), silent 60 ms (p95 689) after the "
        "caller went on; words lost in 1 (not known in 1), answered whole: 2 (not known in 1); gap after landing "
        "450 ms (p95 450)"
    )


def test_what_no_turn_tells_is_not_known() -> None:
    """Without spans no number stands for the words."""
    found = landings.pool_landings([cut_off(0, OPEN)])
    assert found is not None
    text = landings.describe_landings(found)
    assert "landed softly: not known;" in text
    assert "words lost in not known, answered whole: not known" in text


@pytest.mark.parametrize("landing", [SOFT, HARD])
def test_a_landing_changes_no_rate_and_no_gap(landing: Landing) -> None:
    """A cut-off is one, and later than any other, however softly it lands."""
    answered = [make.turn(index) for index in range(6)]
    hard, soft = (summary.compute_figures([*answered, cut_off(6, found)]) for found in (None, landing))
    for name in ("turn_gap_ms", "perceived_gap_ms", "cut_off_rate", "wer", "outcomes", "stages"):
        assert hard[name] == soft[name]
    assert hard["landings"] is None
    assert soft["landings"].cut_offs == 1


def test_a_run_without_cut_offs_has_none() -> None:
    """Nothing is shown of what did not occur."""
    assert landings.pool_landings([make.turn(index) for index in range(3)]) is None


def test_a_comparison_says_how_either_runs_cut_offs_landed() -> None:
    """As a note: it decides nothing."""
    old = [make.turn(index) for index in range(8)]
    new = [*old[:7], cut_off(7, SOFT)]
    records = make.run_record(new), make.run_record(old)
    notes = make_notes(compare_turns(new, old), *records)
    assert any(note.startswith(f"cut-offs of {records[0].run_id}, of 1 landed softly: 1;") for note in notes)
    assert sum("landed softly" in note for note in notes) == 1
