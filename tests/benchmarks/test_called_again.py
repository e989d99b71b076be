"""The simulation of turns called again can fail: by false passes, and by passes that the check lets through."""

from __future__ import annotations

import pytest

from benchmarks import called_again

GOOD = {"around t0, 5 %": {"pass": 0.049}, "late together, 8 %": {"pass": 0.01}}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"around t0, 5 %": {"pass": 0.056}}, True),
        ({"around t0, 5 %": {"pass": 0.058}}, False),
        ({"late together, 8 %": {"pass": 0.2}}, False),
    ],
)
def test_each_promise_is_judged(change: dict[str, dict[str, float]], holds: bool) -> None:
    """0.05, with three standard errors of the simulation: 0.0065 at 10,000 runs."""
    assert called_again.holds(GOOD | change, 10_000) is holds


def test_a_run_of_the_simulation_stops_where_it_is_decided() -> None:
    """An agent that misses nothing passes at the plan's first point, plus the calls that were placed again."""
    row = called_again.simulate(called_again.Case("good", 0.0, (1.0, 1.0)), 5, seed=2)
    assert row["pass"] == 1
    assert 80 < row["calls"] < 100
