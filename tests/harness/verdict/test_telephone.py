"""The perceived gap with other telephone networks."""

from __future__ import annotations

import pytest
from turngap.model.budget import Budget, Limit
from turngap.model.turn import TurnRecord
from turngap.network.telephone import load_telephone_network
from turngap.verdict import stats
from turngap.verdict.telephone import describe_network, vary_network

from tests.harness import report_builders as builders


def turns(count: int) -> list[TurnRecord]:
    """Answered turns with gaps of 301, 302, ... ms."""
    return [builders.turn(n).model_copy(update={"turn_gap_ms": 301.0 + n}) for n in range(count)]


def test_what_another_network_would_do() -> None:
    """The p95 moves by the fixed delay, and the budget bears the rest up to the bound."""
    gaps = [301.0 + n for n in range(100)]
    budget = Budget(name="b", limits=(Limit(metric="perceived_gap_ms", at_most=500),))
    figures = vary_network(describe_network(load_telephone_network("twilio-edge")), turns(100), budget)
    p95, bound = stats.percentile(gaps, 0.95), stats.quantile_upper(gaps)
    assert p95 is not None
    assert bound is not None
    assert [(row.network, row.p95_ms) for row in figures.what_if] == [
        ("none, at the media edge", pytest.approx(p95)),
        ("230 ms", pytest.approx(p95 + 230)),
    ]
    assert figures.holds_up_to_ms == pytest.approx(500 - bound)


def test_without_a_bound_nothing_is_said_to_hold() -> None:
    """58 turns show no p95, whatever the network."""
    budget = Budget(name="b", limits=(Limit(metric="perceived_gap_ms", at_most=500),))
    figures = vary_network(describe_network(load_telephone_network("none")), turns(58), budget)
    assert figures.holds_up_to_ms is None
    assert all(row.p95_upper_ms is None for row in figures.what_if)


def test_unanswered_turns_stay_later_than_any_other() -> None:
    """A run without answers has no p95 with any network."""
    lost = [turn.model_copy(update={"outcome": "missed", "turn_gap_ms": None}) for turn in turns(3)]
    figures = vary_network(describe_network(load_telephone_network("none")), lost, None)
    assert [row.p95_ms for row in figures.what_if] == [None, None]
