"""Recovery after a spike."""

from __future__ import annotations

from turngap.capacity.recovery import IN_A_ROW, TimedGap, measure_recovery


def gaps(*values: float | None) -> list[TimedGap]:
    """One call a second."""
    return [TimedGap(float(place), value) for place, value in enumerate(values)]


def test_it_ends_with_the_first_of_several_answers_as_before() -> None:
    """A single quick one between slow ones does not count, nor does the spike itself."""
    spiked = gaps(400, 410, 420, 400, 3000, 2500, 2000, 415, 900, *[400] * IN_A_ROW)
    recovery = measure_recovery(spiked, "spike", 4, 6)
    assert recovery is not None
    assert (recovery.limit_ms, recovery.seconds, recovery.worst_ms) == (420, 3.0, 3000)


def test_at_once() -> None:
    """An agent that the spike did not touch has recovered with the first call after it."""
    recovery = measure_recovery(gaps(*[400.0] * 20), "spike", 5, 8)
    assert recovery is not None
    assert recovery.seconds == 0.0


def test_within_the_budget_is_as_before() -> None:
    """Even where the answers before the spike were quicker."""
    values = gaps(300, 310, 305, 2000, *[450.0] * IN_A_ROW)
    slower, within = (measure_recovery(values, "spike", 3, 4, budget_ms) for budget_ms in (None, 500.0))
    assert slower is not None
    assert within is not None
    assert (slower.seconds, within.seconds) == (None, 0.0)


def test_without_an_answer_before_or_after() -> None:
    """Nothing before it: no recovery is told. A turn without an answer is the worst, and none as before."""
    assert measure_recovery(gaps(None, None, 400, 400), "spike", 2, 3) is None
    never = measure_recovery(gaps(400, 400, None, None, 400, 400), "spike", 2, 3)
    assert never is not None
    assert (never.seconds, never.worst_ms) == (None, None)
