"""Limits on conversation: judged on the turns they are about, on their bounds, and not at all where there are none."""

from __future__ import annotations

import pytest
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import Expectation
from turngap.verdict.budget import Limit, Metric
from turngap.verdict.gate import Evidence
from turngap.verdict.limits import LimitResult, LimitState, judge_limit
from turngap.verdict.measures import SHARES_BY_METRIC

from tests.harness import report_builders as builders

WITHIN, OVER, NEITHER, NOT_JUDGED = LimitState
KNOWN = Evidence(planned_turns=100, complete=True)


def judge(metric: str, at_most: float, turns: list[TurnRecord]) -> LimitResult:
    return judge_limit(Limit(metric=metric, at_most=at_most), turns, KNOWN)


def barge_ins(n: int, stop_ms: float, outcome: Outcome = Outcome.ANSWERED) -> list[TurnRecord]:
    stop = Expectation.STOP
    return [
        builders.turn(i, outcome=outcome, expectation=stop, over_agent=True, barge_in_stop_ms=stop_ms) for i in range(n)
    ]


def backchannels(n: int, went_on_ms: float | None, outcome: Outcome) -> list[TurnRecord]:
    ignore = Expectation.IGNORE
    return [
        builders.turn(i, outcome=outcome, expectation=ignore, over_agent=True, went_on_ms=went_on_ms) for i in range(n)
    ]


def test_the_time_to_stop_is_judged_over_barge_ins() -> None:
    """Other turns don't dilute it, and a barge-in that was answered wrongly has yielded all the same."""
    others = builders.turns(200)
    assert judge("barge_in_stop_ms", 250, [*others, *barge_ins(59, 240)]).state is WITHIN
    assert judge("barge_in_stop_ms", 250, [*others, *barge_ins(59, 240, Outcome.WRONG)]).state is WITHIN
    assert judge("barge_in_stop_ms", 250, [*others, *barge_ins(59, 260)]).state is OVER
    talked = [*barge_ins(58, 240), *barge_ins(1, 240, Outcome.TALKED_OVER)]
    assert judge("barge_in_stop_ms", 250, talked).state is NEITHER
    assert judge("barge_in_stop_ms", 250, [*others, *barge_ins(40, 240)]).missing == 19


@pytest.mark.parametrize(
    "metric", [*SHARES_BY_METRIC, "wer_clean", "wer_noisy", "wasted_share", "went_on_ms", "stale_ms"]
)
def test_without_turns_of_its_kind_there_is_no_verdict(metric: str) -> None:
    """Nothing measured is never a pass, and the text says what to do."""
    result = judge(metric, 0.5, [])
    assert result.state is NOT_JUDGED
    assert result.remedy or result.missing


def test_sentences_that_go_on() -> None:
    """A stopped sentence is over any limit."""
    assert judge("went_on_ms", 600, backchannels(59, 580.0, Outcome.HELD)).state is WITHIN
    assert (
        judge(
            "went_on_ms", 600, [*backchannels(58, 580.0, Outcome.HELD), *backchannels(1, None, Outcome.STOPPED)]
        ).state
        is NEITHER
    )


@pytest.mark.parametrize(
    ("n", "events", "state"), [(149, 0, WITHIN), (148, 0, NOT_JUDGED), (236, 1, WITHIN), (235, 1, NEITHER)]
)
def test_cut_offs_in_pauses(n: int, events: int, state: LimitState) -> None:
    """2 % at 95 % confidence: none in 149 pause turns, or one in 236; turns without a pause don't count."""
    turns = [
        builders.turn(i, pause_ms=400.0, outcome=Outcome.CUT_OFF if i < events else Outcome.ANSWERED) for i in range(n)
    ]
    assert judge("pause_cut_off_rate", 0.02, [*turns, *builders.turns(100)]).state is state


def test_false_stops_and_intrusions_are_judged_twice_where_turns_were_spoilt() -> None:
    """A spoilt turn may have been one."""
    turns = backchannels(100, 0.0, Outcome.HELD)
    assert judge("false_stop_rate", 0.04, turns).state is WITHIN
    assert judge("false_stop_rate", 0.04, [*turns[:98], *backchannels(2, 0.0, Outcome.INVALID)]).state is NOT_JUDGED
    assert judge("intruded_rate", 0.04, [*turns[:90], *backchannels(10, 0.0, Outcome.INTRUDED)]).state is OVER


def test_words_in_noise_and_without() -> None:
    """Each limit takes its own turns."""
    clean = builders.turns(60, word_errors=0)
    noisy = builders.turns(60, word_errors=2, condition="babble 5 dB")
    assert judge("wer_clean", 0.05, [*clean, *noisy]).state is WITHIN
    held = judge("wer_noisy", 0.04, [*clean, *noisy])
    assert held.state is OVER
    assert held.text.startswith("word error rate of noisy turns 28.6%")
    assert judge("wer", 0.2, [*clean, *noisy]).state is WITHIN


def test_wasted_work_is_judged_on_its_bound() -> None:
    """And not at all where a turn does not tell."""
    turns = builders.turns(60, compute_ms=300.0, wasted_ms=100.0)
    assert judge("wasted_share", 0.35, turns).state is WITHIN
    assert judge("wasted_share", 0.25, turns).state is NEITHER
    assert judge("wasted_share", 0.35, [*turns, builders.turn(60)]).state is NOT_JUDGED


def test_every_metric_is_judged_by_something() -> None:
    """No name that a budget may hold is taken for GPU memory by mistake."""
    for metric in Metric:
        text = judge(metric, 0.5, []).text
        assert ("GPU" in text) is (metric is Metric.VRAM), metric
