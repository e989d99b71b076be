"""Pooled word errors: missed words, runaway transcripts, and the bound by utterance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.turn import Outcome
from turngap.scenario import Expectation
from turngap.verdict import stats
from turngap.verdict.word_errors import (
    Utterance,
    count_word_errors,
    is_wer_within,
    pool_word_errors,
    wer_lower,
    wer_upper,
)

from tests.harness import report_builders as builders

UTTERANCES = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=60)
CONFIDENCES = st.sampled_from((0.9, 0.95, 0.99, 0.999))


def unheard(index: int, outcome: Outcome = Outcome.MISSED, **changes: object) -> object:
    return builders.turn(index, outcome=outcome, transcript=None, wer=None, word_errors=None, **changes)


@given(st.integers(1, 250), st.data(), CONFIDENCES, st.integers(1, 15))
def test_of_utterances_right_or_wrong_as_a_whole_it_is_the_exact_bound(
    n: int, data: st.DataObject, confidence: float, words: int
) -> None:
    """With one length for all it is Clopper and Pearson's bound on the share of utterances."""
    wrong = data.draw(st.integers(0, n))
    upper = wer_upper([words] * wrong + [0] * (n - wrong), [words] * n, confidence)
    assert upper == pytest.approx(stats.rate_upper(wrong, n, confidence), abs=1e-5)


@given(st.integers(1, 250), st.data(), CONFIDENCES)
def test_the_lower_bound_mirrors_it(n: int, data: st.DataObject, confidence: float) -> None:
    """Of utterances right or wrong as a whole it is exact too; a transcript that ran away counts as one wrong one."""
    wrong = data.draw(st.integers(0, n))
    exact = 1 - (stats.rate_upper(n - wrong, n, confidence) or 0.0)
    for size in (4, 45):
        lower = wer_lower([size] * wrong + [0] * (n - wrong), [4] * n, confidence)
        assert lower == pytest.approx(exact, abs=1e-5)


@given(UTTERANCES, CONFIDENCES)
def test_it_is_over_the_rate_and_grows_with_errors_and_confidence(
    utterances: list[tuple[int, int]], confidence: float
) -> None:
    """One more error never lowers it, nor does more confidence; it is over the pooled rate."""
    errors, words = (list(column) for column in zip(*utterances, strict=True))
    upper = wer_upper(errors, words, confidence)
    assert upper >= sum(errors) / sum(words) - 1e-9
    assert wer_upper([errors[0] + 1, *errors[1:]], words, confidence) >= upper - 1e-6
    assert wer_upper(errors, words, min(0.9995, confidence + 0.0005)) >= upper - 1e-6
    assert wer_upper(errors[::-1], words[::-1], confidence) == upper


@given(UTTERANCES, CONFIDENCES, st.floats(0.001, 3))
def test_within_a_rate_is_the_bound_at_most_that_rate(
    utterances: list[tuple[int, int]], confidence: float, rate: float
) -> None:
    """The quick answer is the bound's, but within the error of its search."""
    errors, words = (list(column) for column in zip(*utterances, strict=True))
    upper = wer_upper(errors, words, confidence)
    if abs(upper - rate) > 1e-5:
        assert is_wer_within(errors, words, rate, confidence) is (upper < rate)


def test_it_is_the_quantile_of_the_bayesian_bootstrap() -> None:
    """The inversion agrees with 200,000 draws, whatever the lengths and where one transcript ran away."""
    rng = np.random.default_rng(7)
    for errors, words in (([0, 1, 0, 2, 30, 0], [3, 5, 1, 8, 4, 6]), ([0] * 50 + [1] * 8, [2, 9] * 29), ([0], [4])):
        mean = sum(w * w for w in words) / sum(words)
        too_many = max(0, *(e - w for e, w in zip(errors, words, strict=True)))
        draws = rng.standard_exponential((200_000, len(words) + 1))
        ratios = draws @ np.array([*errors, mean + too_many]) / (draws @ np.array([*words, mean]))
        assert wer_upper(errors, words) == pytest.approx(np.quantile(ratios, 0.95), rel=0.01)


def test_an_error_of_many_words_counts_as_one_utterance() -> None:
    """The same words in one utterance bound the rate less tightly than scattered ones."""
    words = [5] * 190
    assert wer_upper([20] + [0] * 189, words) > wer_upper([1] * 20 + [0] * 170, words)


def test_no_data_is_refused() -> None:
    """Lengths that differ, no utterance, an utterance without words, fewer than no errors."""
    for errors, words in (([1], [1, 2]), ([], []), ([0], [0]), ([-1], [3])):
        with pytest.raises(ValueError, match="utterances"):
            wer_upper(errors, words)


def test_turns_without_a_transcript_count_as_missed_words() -> None:
    """Missed, cut off, failed or answered with lost spans; what the instrument spoilt is left out."""
    turns = [
        builders.turn(0, word_errors=1, words=4),
        unheard(1, words=6),
        unheard(2, Outcome.CUT_OFF, words=5),
        unheard(3, Outcome.ANSWERED, words=2),
        unheard(4, Outcome.INVALID, words=9),
        unheard(5, words=3, expectation=Expectation.IGNORE),
    ]
    figures = pool_word_errors(turns)  # type: ignore[arg-type]
    assert figures is not None
    assert (figures.turns, figures.errors, figures.words, figures.without_transcript) == (4, 14, 17, 3)
    assert figures.wer == 14 / 17


def test_an_agent_that_sends_no_transcripts_has_no_word_error_rate() -> None:
    """Its words are not known, which is not the same as missed."""
    assert pool_word_errors([unheard(0, words=6), unheard(1, Outcome.ANSWERED, words=6)]) is None  # type: ignore[list-item]


def test_older_runs_count_the_reference_as_it_is_written() -> None:
    """They have no number of words where there is no transcript."""
    assert count_word_errors(unheard(0, words=None, reference="Please try again.")) == Utterance(3, 3)  # type: ignore[arg-type]
    assert count_word_errors(unheard(0, words=None, reference=None)) is None  # type: ignore[arg-type]


def test_runaway_transcripts_are_counted_apart() -> None:
    """More errors than reference words; all of them are in the rate and in the bound."""
    loop, wrong = builders.turn(0, word_errors=45, words=4), builders.turn(1, word_errors=4, words=4)
    figures = pool_word_errors([loop, wrong, *(builders.turn(i, word_errors=0, words=4) for i in range(2, 60))])
    assert figures is not None
    assert figures.runaway == stats.rate(1, 60)
    assert figures.wer == pytest.approx(49 / 240)
    assert math.isfinite(figures.upper)
    assert figures.upper > figures.wer


@pytest.mark.parametrize("kind", ["whole", "loops", "words"])
def test_coverage(kind: str) -> None:
    """400 samples at a true 5 % (of loops: 1 %, each counted as one utterance): at most 5 % of the bounds are under it.

    (And three standard errors more. `benchmarks/word_errors.py` has more samples and more kinds.)
    """
    rng = np.random.default_rng(3)
    words = np.resize([1, 2, 3, 4, 5, 6, 9, 12], 96)
    under = 0
    for _ in range(400):
        if kind == "words":
            errors, true = rng.binomial(words, 0.05), 0.05
        else:
            true, size = (0.05, words) if kind == "whole" else (0.01, 20)
            errors = (rng.random(len(words)) < true) * size
        under += wer_upper(errors.tolist(), words.tolist()) < true
    assert under <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
