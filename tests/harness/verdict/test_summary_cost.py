"""What turns and calls cost: price times the machine's wall time, shared by the calls that go on at once."""

from __future__ import annotations

import pytest
from turngap.model.figures import CostFigures
from turngap.verdict import summary
from turngap_agent import profile
from turngap_agent.errors import ProfileError
from turngap_agent.profile.sections import Price

PRICE = Price(an_hour=3.6, currency="EUR", as_of="2026-05", source="an invoice")


def compute_cost(calls: int, call_s: float, answered: int, placed: int = 2) -> CostFigures:
    figures = summary.compute_cost(PRICE, calls, call_s, answered, calls=placed)
    assert figures is not None
    return figures


def test_without_a_price_there_is_no_cost() -> None:
    """Profiles for a laptop have none."""
    assert summary.compute_cost(None, 1, 60.0, 3, calls=1) is None
    assert profile.load("cpu").price is None


def test_one_call_pays_for_the_whole_machine() -> None:
    """3.60 an hour is 0.06 a minute; ten answered turns in five minutes are 0.03 each."""
    figures = compute_cost(1, 300.0, 10)
    assert figures.call_minute == pytest.approx(0.06)
    assert figures.answered_turn == pytest.approx(0.03)
    assert (figures.call_minutes, figures.answered_turns) == (5.0, 10)


def test_calls_at_once_share_it() -> None:
    """Two calls at once: half of it for each, a minute and a turn."""
    alone, together = compute_cost(1, 300.0, 10), compute_cost(2, 300.0, 10)
    assert together.call_minute == pytest.approx(alone.call_minute / 2)
    assert together.answered_turn == pytest.approx((alone.answered_turn or 0) / 2)


def test_turns_cost_what_their_calls_wall_time_costs() -> None:
    """Twelve calls of a minute, four at once, take the machine three minutes; what that costs, the turns share."""
    figures = compute_cost(4, 12 * 60.0, 30)
    assert figures.answered_turn == pytest.approx(3.6 / 60 * 3 / 30)


def test_a_turn_that_was_not_answered_costs_the_others() -> None:
    """It is paid for, and where none was answered there is no figure."""
    assert (compute_cost(1, 60.0, 5).answered_turn or 0) > (compute_cost(1, 60.0, 6).answered_turn or 0)
    assert compute_cost(1, 60.0, 0).answered_turn is None


def test_a_call_costs_its_minutes() -> None:
    """Two calls of 2.5 minutes are 0.15 each; without a call there is no figure."""
    assert compute_cost(1, 300.0, 10).call == pytest.approx(0.15)
    assert compute_cost(1, 0.0, 0, placed=0).call is None


def test_the_users_own_price_takes_the_assumptions_place() -> None:
    """All of it, or one part by its name."""
    own = profile.load("a100", ("price={an_hour: 2, currency: EUR, as_of: 2026-11, source: my contract}",)).price
    assert own == Price(an_hour=2, currency="EUR", as_of="2026-11", source="my contract")
    assert profile.load("a100", ("price=null",)).price is None
    with pytest.raises(ProfileError, match=r"`price\.an_hour`"):
        profile.load("a100", ("price.an_hour=0",))
