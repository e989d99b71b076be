"""Shares and latencies with their intervals, whatever the verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from turngap.model.turn import Outcome
from turngap.report import wording
from turngap.verdict import stats
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.intervals import compute_intervals

from tests.harness.verdict.test_gate import EDGE, run, turn


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_of_a_rate_is_clopper_pearsons(events: int, n: int) -> None:
    """As scipy computes it."""
    events = min(events, n)
    exact = binomtest(events, n).proportion_ci(0.95)
    assert stats.rate_interval(events, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_no_turns_show_nothing_of_a_rate() -> None:
    """Anything is possible; a count beyond the turns is a mistake."""
    assert stats.rate_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="2 events"):
        stats.rate_interval(2, 1)


def test_shares_and_latencies_are_apart() -> None:
    """7 of 190 turns over the limit, 2 of them missed: the latency of the answered does not have the missed ones."""
    turns = run(190, 5)
    turns[0], turns[1] = turn(0, None, Outcome.MISSED), turn(1, None, Outcome.MISSED)
    over = sum(each.turn_gap_ms is None or each.turn_gap_ms > 500 for each in turns)
    known = compute_intervals(turns, EDGE)
    assert known is not None
    assert (known.success.events, known.success.n) == (188, 190)
    (late,) = known.over
    assert (late.metric, late.at_most, late.events, late.n) == ("turn_gap_ms", 500, over, 190)
    assert late.low < over / 190 < late.high
    gap = known.answered[0]
    assert (gap.metric, gap.n) == ("turn_gap_ms", 188)
    assert gap.p95 is not None
    assert gap.p95_low is not None
    assert gap.p95_high is not None
    assert gap.p95_low <= gap.p95 <= gap.p95_high


def test_without_a_budget_there_is_no_share_over_it() -> None:
    """Success and latency remain; invalid turns and turns that need no answer are left out; no turns, no figures."""
    turns = [turn(0), turn(1, outcome=Outcome.INVALID), turn(2, None, Outcome.HELD, expectation="wait")]
    known = compute_intervals(turns, None)
    assert known is not None
    assert (known.over, known.success.n) == ((), 1)
    assert compute_intervals(turns[1:], None) is None


def test_limits_that_turns_do_not_have_are_left_out() -> None:
    """Stages without spans, and limits on other things than the answer's time."""
    budget = Budget(
        name="b",
        limits=(Limit(metric="stages.first_audio", at_most=20), Limit(metric="barge_in_stop_ms", at_most=200)),
    )
    known = compute_intervals([turn(0, stages=None)], budget)
    assert known is not None
    assert known.over == ()


def test_the_report_says_each_with_its_interval() -> None:
    """Share over budget, success, median and p95 of the answered."""
    lines = dict(wording.interval_lines(compute_intervals(run(190, 7), EDGE)))
    assert lines["over budget"] == "turn gap over 500 ms in 7 of 190 turns, 3.7 % (1.5 % to 7.4 %)"
    assert lines["success"].startswith("answered as they should be: 190 of 190 turns, 100.0 % (98.1 % to 100.0 %)")
    assert "perceived gap of 190 answered turns: p50" in lines["answered"]
    assert wording.interval_lines(None) == []
