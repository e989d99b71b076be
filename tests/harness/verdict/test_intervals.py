"""Shares and latencies with their intervals, whatever the verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from turngap.model.intervals import AnsweredLatency
from turngap.model.records import LabelSource
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


@given(st.lists(st.tuples(st.floats(200, 900), st.floats(0, 80), st.floats(-80, 0)), min_size=6, max_size=80))
def test_labels_widen_the_intervals_by_what_all_of_them_may_be_off(drawn: list[tuple[float, float, float]]) -> None:
    """As if every end of speech lay at the one or at the other edge; never narrower than without."""
    turns = [
        turn(index, gap).model_copy(update={"label_low_ms": low, "label_high_ms": high})
        for index, (gap, low, high) in enumerate(drawn)
    ]
    known = compute_intervals(turns, None)
    assert known is not None
    gap = known.answered[0]
    if all(low == high == 0 for _, low, high in drawn):
        assert gap.with_labels is None
        return
    assert gap.with_labels is not None
    early = stats.quantile_interval([value - high for value, _, high in drawn], 0.5)
    late = stats.quantile_interval([value - low for value, low, _ in drawn], 0.5)
    assert (gap.with_labels.p50_low, gap.with_labels.p50_high) == pytest.approx((late[0], early[1]))
    assert gap.p50_low is not None
    assert gap.p50_high is not None
    assert gap.with_labels.p50_low is not None
    assert gap.with_labels.p50_high is not None
    assert gap.with_labels.p50_low <= gap.p50_low <= gap.p50_high <= gap.with_labels.p50_high


def test_labels_by_hand_of_50_ms_are_said_to_widen_the_figures() -> None:
    """Each interval grows by 50 ms on both sides, and the line says by whom the ends were labelled."""
    sources = [LabelSource.HAND] * 55 + [LabelSource.ALIGNED] * 5 + [LabelSource.FLOOR] * 40
    turns = [
        each.model_copy(update={"label_low_ms": 50.0, "label_high_ms": -50.0, "label_source": source})
        for each, source in zip(run(100, 3), sources, strict=True)
    ]
    known = compute_intervals(turns, None)
    assert known is not None
    gap = known.answered[0]
    assert gap.with_labels is not None
    for name in ("p50", "p95"):
        low, high = (getattr(gap, f"{name}_{side}") for side in ("low", "high"))
        wide = [getattr(gap.with_labels, f"{name}_{side}") for side in ("low", "high")]
        assert wide == [None if low is None else low - 50, None if high is None else high + 50]
    lines = [text for name, text in wording.interval_lines(known) if name == "labels"]
    assert len(lines) == 2
    assert (
        "median +50 / -50 ms, 55 ends of speech by hand, 5 ends of speech by alignment and 40 ends of speech "
        "relative to the noise floor"
    ) in lines[0]
    assert f"p50 ({gap.with_labels.p50_low:.0f} to {gap.with_labels.p50_high:.0f})" in lines[0]


def test_exact_labels_and_older_runs_say_nothing_of_labels() -> None:
    """Labels by threshold of a few ms are no news; a run without the field reads as before."""
    turns = [each.model_copy(update={"label_low_ms": 2.0, "label_high_ms": -3.0}) for each in run(100, 3)]
    known = compute_intervals(turns, None)
    assert all(name != "labels" for name, _ in wording.interval_lines(known))
    assert known is not None
    old = known.answered[0].model_dump(exclude={"with_labels"})
    assert AnsweredLatency.model_validate(old).with_labels is None
