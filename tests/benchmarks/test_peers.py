"""The side-by-side table: what it says of turns adds up."""

from __future__ import annotations

from turngap.model.turn import Outcome

from benchmarks.peers.beside import describe_outcomes
from tests.harness import report_builders


def test_the_outcomes_of_a_row_add_up_to_its_turns() -> None:
    """Every scored turn is in one of the counts, also an invalid one; a turn that was called again is in none."""
    outcomes = [Outcome.ANSWERED] * 9 + [Outcome.CUT_OFF, Outcome.MISSED, Outcome.INVALID]
    turns = [report_builders.turn(place, outcome=outcome) for place, outcome in enumerate(outcomes)]
    again = report_builders.turn(12).model_copy(update={"scored": False, "replaced": True})
    assert describe_outcomes([*turns, again]) == "12: 9 answered, 1 missed, 1 cut off, 1 invalid"
    assert describe_outcomes([again]) == "0"
