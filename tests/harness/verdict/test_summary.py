"""The figures of a run: what counts, what does not, and what counts for a turn without an answer."""

from __future__ import annotations

import pytest
from turngap.model.turn import Outcome
from turngap.verdict import summary
from turngap_agent.tracing import Stage

from tests.harness import report_builders as builders


def test_warm_up_and_invalid_turns_are_left_out_of_latencies() -> None:
    """They stay in the file; invalid ones are counted among the outcomes, warm-up nowhere."""
    turns = [
        builders.turn(0, warm_up=True, scored=False, turn_gap_ms=9000.0),
        builders.turn(1, outcome=Outcome.INVALID, turn_gap_ms=9000.0),
        builders.turn(2, turn_gap_ms=400.0),
    ]
    figures = summary.compute_figures(turns)
    assert figures["turn_gap_ms"].max == 400.0
    assert figures["turn_gap_ms"].n == 1
    assert figures["n_turns"] == 2
    assert figures["outcomes"] == {Outcome.ANSWERED: 1, Outcome.INVALID: 1}


@pytest.mark.parametrize("outcome", [Outcome.MISSED, Outcome.WRONG, Outcome.TRUNCATED, Outcome.BROKEN, Outcome.FAILED])
def test_a_turn_not_answered_as_it_should_be_is_later_than_any_other(outcome: Outcome) -> None:
    """A quick wrong answer does not better a percentile: with one in two turns the median is null."""
    turns = [builders.turn(0, turn_gap_ms=400.0), builders.turn(1, outcome=outcome)]
    figures = summary.compute_figures(turns)["turn_gap_ms"]
    assert (figures.n, figures.p50, figures.max) == (2, None, None)


def test_no_turns_make_no_figures() -> None:
    """Nothing measured is null, never zero and never an error."""
    figures = summary.compute_figures([])
    assert figures["n_turns"] == 0
    assert figures["turn_gap_ms"].p50 is None
    assert (figures["wer"], figures["wasted_attempts"]) == (None, None)
    assert figures["cut_off_rate"].rate is None


def test_stages_rest_on_answered_turns_with_spans() -> None:
    """A turn without spans or without an answer adds nothing to the stage table."""
    turns = [builders.turn(0), builders.turn(1, spans=False), builders.turn(2, outcome=Outcome.MISSED)]
    stages = summary.compute_figures(turns)["stages"]
    assert stages[Stage.TRANSCRIPTION].n == 1
    assert turns[0].stages is not None
    assert stages[Stage.TRANSCRIPTION].p50_ms == turns[0].stages[Stage.TRANSCRIPTION].duration_ms


def test_word_errors_are_pooled_over_words() -> None:
    """Two errors in twelve words, not the mean of the turns' rates; a turn without reference words adds nothing."""
    turns = [
        builders.turn(0, transcript="x", word_errors=2, words=2),
        builders.turn(1, transcript="x", word_errors=0, words=10),
        builders.turn(2, transcript=None, word_errors=None, words=None, reference=None),
    ]
    assert summary.compute_figures(turns)["wer"] == pytest.approx(2 / 12)


def test_rates_and_wasted_attempts() -> None:
    """Cut-offs count over all scored turns, underruns over replies, cancelled attempts beyond each turn's one."""
    turns = [
        builders.turn(0, outcome=Outcome.CUT_OFF, reply_ms=None, attempts=3),
        builders.turn(1, underruns_ms=(120.0,), reply_ms=900.0, attempts=1),
        builders.turn(2, underruns_ms=(), reply_ms=900.0, attempts=2),
    ]
    figures = summary.compute_figures(turns)
    assert (figures["cut_off_rate"].events, figures["cut_off_rate"].n) == (1, 3)
    assert (figures["underrun_rate"].events, figures["underrun_rate"].n) == (1, 2)
    assert figures["wasted_attempts"] == 3


def test_the_corpus_counts_each_utterance_once() -> None:
    """An utterance that was repeated in another round is one, and its origin is recorded."""
    turns = [
        builders.turn(0, utterance_id="a", synthetic_caller=True),
        builders.turn(1, utterance_id="a", synthetic_caller=True),
        builders.turn(2, utterance_id="b", synthetic_caller=False, stratum="short"),
    ]
    corpus = summary.corpus_figures(turns, {"a": "voice A", "b": "prompts"})
    assert (corpus.distinct_utterances, corpus.synthetic) == (2, 1)
    assert {each.source: each.utterances for each in corpus.sources} == {"voice A": 1, "prompts": 1}
    assert sum(corpus.strata.values()) == 2


def test_a_killed_runs_record_gets_its_figures_from_the_turns() -> None:
    """run.json, as written at the start, is updated to what turns.jsonl contains."""
    turns = [builders.turn(index) for index in range(5)]
    stale = builders.run_record([])
    fresh = summary.recompute_figures(stale, turns)
    assert fresh.n_turns == 5
    assert fresh.turn_gap_ms.n == 5
    assert fresh.run_id == stale.run_id
    assert fresh.instrument.label_low_ms is not None
