"""The figures beside the gap: rates of the right turns, reaction times, words by noise, wasted work; with bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.result import RunRecord
from turngap.model.turn import GOOD, Outcome, TurnRecord
from turngap.scenario import Expectation
from turngap.verdict import conversation, stats, summary
from turngap.verdict.measures import SHARES, Share

from tests.harness import report_builders as builders
from tests.harness.report_builders import unanswered

STOP, IGNORE, WAIT = Expectation.STOP, Expectation.IGNORE, Expectation.WAIT


def barge_in(index: int, stop_ms: float, outcome: Outcome = Outcome.ANSWERED) -> TurnRecord:
    return builders.turn(
        index,
        outcome=outcome,
        expectation=STOP,
        over_agent=True,
        barge_in_stop_ms=stop_ms,
        stale_ms=0.0,
        talk_over_ms=stop_ms,
    )


def test_turns_that_were_not_to_be_answered_have_no_latency() -> None:
    """A silence that was rightly left alone is neither a fast answer nor a missed one."""
    turns = [
        builders.turn(0, turn_gap_ms=400.0),
        unanswered(1, WAIT, Outcome.HELD),
        unanswered(2, IGNORE, Outcome.HELD),
    ]
    figures = summary.compute_figures(turns)
    assert (figures["turn_gap_ms"].n, figures["turn_gap_ms"].max) == (1, 400.0)
    assert figures["outcomes"] == {Outcome.ANSWERED: 1, Outcome.HELD: 2}
    assert (figures["cut_off_rate"].n, figures["underrun_rate"].n) == (1, 1)


def test_each_rate_is_a_share_of_its_own_turns() -> None:
    """False stops of backchannels, intrusions of what was to be left alone, cut-offs of pause turns beside all."""
    turns = [
        builders.turn(0),
        builders.turn(1, outcome=Outcome.MISSED),
        builders.turn(2, pause_ms=400.0, outcome=Outcome.CUT_OFF),
        builders.turn(3, pause_ms=250.0),
        builders.turn(4, pause_ms=160.0, outcome=Outcome.TRUNCATED),
        barge_in(5, 180.0),
        barge_in(6, 2400.0, Outcome.TALKED_OVER),
        unanswered(7, IGNORE, Outcome.STOPPED),
        unanswered(8, IGNORE, Outcome.HELD, went_on_ms=0.0),
        unanswered(9, WAIT, Outcome.INTRUDED),
        unanswered(10, WAIT, Outcome.HELD),
        unanswered(11, WAIT, Outcome.INVALID),
    ]
    rates = summary.compute_figures(turns)["conversation"].rates
    assert {name: (rate.events, rate.n) for name, rate in rates.items()} == {
        "cut_off_rate": (1, 7),
        "pause_cut_off_rate": (1, 2),
        "missed_rate": (1, 7),
        "truncated_rate": (1, 7),
        "underrun_rate": (0, 6),
        "talked_over_rate": (1, 2),
        "false_stop_rate": (1, 2),
        "intruded_rate": (1, 4),
    }
    assert rates["false_stop_rate"].upper == stats.rate_upper(1, 2)


def test_every_attempt_at_answering_nobody_is_wasted() -> None:
    """Of a turn that was to be answered one attempt is its own, of the others none."""
    turns = [builders.turn(0, attempts=3), unanswered(1, WAIT, Outcome.HELD, attempts=2)]
    assert summary.compute_figures(turns)["wasted_attempts"] == 4


def test_a_rate_of_no_turns_is_not_known() -> None:
    """Null, never 0 %."""
    rates = summary.compute_figures([builders.turn(0)])["conversation"].rates
    assert (rates["intruded_rate"].rate, rates["intruded_rate"].upper, rates["intruded_rate"].n) == (None, None, 0)


@pytest.mark.parametrize("share", SHARES, ids=lambda share: share.metric)
def test_good_turns_are_no_events(share: Share) -> None:
    """No finding is counted on a turn that went as it should, but for an underrun too short to break a reply."""
    for outcome in GOOD:
        assert not share.is_event(builders.turn(0, outcome=outcome))


def test_a_barge_in_that_was_talked_over_is_later_than_any_other() -> None:
    """Its own time would flatter the agent that falls silent for a moment and resumes."""
    figures = conversation.conversation_figures(
        [barge_in(0, 180.0), barge_in(1, 220.0), barge_in(2, 90.0, Outcome.TALKED_OVER)]
    )
    assert (figures.barge_in_stop_ms.n, figures.barge_in_stop_ms.p50, figures.barge_in_stop_ms.max) == (3, 220.0, None)
    assert figures.talk_over_ms.max == 220.0
    assert figures.went_on_ms.n == 0


def test_a_sentence_that_did_not_go_on_is_later_than_any_other() -> None:
    """One that never paused took no time."""
    turns = [
        unanswered(0, IGNORE, Outcome.HELD, went_on_ms=0.0),
        unanswered(1, IGNORE, Outcome.HELD, went_on_ms=500.0),
        unanswered(2, IGNORE, Outcome.STOPPED, went_on_ms=None),
    ]
    figures = conversation.conversation_figures(turns).went_on_ms
    assert (figures.n, figures.p50, figures.max) == (3, 500.0, None)


def test_words_by_noise_and_twins() -> None:
    """Clean and noisy turns apart, each condition too, and noisy turns beside the same words without noise."""
    turns = [
        builders.turn(0, utterance_id="a", word_errors=0, words=5),
        builders.turn(1, utterance_id="b", word_errors=1, words=5),
        builders.turn(2, utterance_id="a5", condition="babble 5 dB", twin="a", word_errors=3, words=5),
        builders.turn(3, utterance_id="b10", condition="pink 10 dB", twin="b", word_errors=1, words=5),
        builders.turn(4, utterance_id="c10", condition="pink 10 dB", twin="gone", word_errors=5, words=5),
    ]
    figures = conversation.conversation_figures(turns)
    assert {name: (one.turns, one.errors, one.words) for name, one in figures.wer.items()} == {
        "clean": (2, 1, 10),
        "noisy": (3, 9, 15),
        "babble 5 dB": (1, 3, 5),
        "pink 10 dB": (2, 6, 10),
    }
    assert {name: (one.pairs, one.noisy, one.clean) for name, one in figures.twins.items()} == {
        "noisy": (2, 0.4, 0.1),
        "babble 5 dB": (1, 0.6, 0.0),
        "pink 10 dB": (1, 0.2, 0.2),
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), min_size=1, max_size=40))
def test_every_word_error_rate_has_a_bound_over_it(counts: list[tuple[int, int]]) -> None:
    """However few or many words: the bound is no smaller than the rate, but for a bootstrap's own coarseness."""
    turns = [builders.turn(i, word_errors=min(e, w), words=w) for i, (e, w) in enumerate(counts)]
    figures = summary.compute_figures(turns)
    assert figures["wer_upper"] >= figures["wer"] - 1e-9


def test_wasted_work_is_a_share_of_all_work() -> None:
    """Wasted over wasted and heard work; an unanswered turn's work is all wasted; unknown ones are left out."""
    turns = [
        builders.turn(0, compute_ms=300.0, wasted_ms=100.0),
        builders.turn(1, compute_ms=None, wasted_ms=100.0, outcome=Outcome.MISSED),
        builders.turn(2, compute_ms=300.0, wasted_ms=0.0, pause_ms=400.0),
        builders.turn(3, compute_ms=None, wasted_ms=None),
    ]
    figures = conversation.conversation_figures(turns)
    assert figures.wasted is not None
    assert (figures.wasted.turns, figures.wasted.compute_ms, round(figures.wasted.wasted_ms, 3)) == (3, 200.0, 66.667)
    assert figures.wasted.share == pytest.approx(0.25)
    assert figures.wasted.upper is not None
    assert figures.wasted.upper >= 0.25
    assert figures.wasted_pauses is not None
    assert (figures.wasted_pauses.turns, figures.wasted_pauses.share) == (1, 0.0)
    assert conversation.pool_wasted_work([builders.turn(0)]) is None


def test_hidden_time_of_a_stage() -> None:
    """Where every turn tells it there is a median of it; older runs have none."""
    turns = builders.turns(3)
    assert {figures.hidden_p50_ms for figures in summary.compute_figures(turns)["stages"].values()} == {None}
    hidden_turns = [
        turn.model_copy(
            update={"stages": {s: t.model_copy(update={"hidden_ms": 7.0}) for s, t in (turn.stages or {}).items()}}
        )
        for turn in turns
    ]
    assert {figures.hidden_p50_ms for figures in summary.compute_figures(hidden_turns)["stages"].values()} == {7.0}


def test_a_run_of_before_is_still_read() -> None:
    """Every new field of `run.json` may be missing."""
    data = builders.as_json(builders.run_record(builders.turns(3)))
    for name in ("conversation", "wer_upper"):
        data.pop(name)
    for figures in data["stages"].values():
        figures.pop("hidden_p50_ms")
    assert RunRecord.model_validate(data).conversation is None
