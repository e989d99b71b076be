"""Word errors pooled over utterances, with an upper bound by utterance; turns without a transcript are missed words.

The errors of one utterance are not independent: it is misheard as a whole, or the recogniser repeats itself. So the
bound resamples utterances, and assumes one more of mean length that is wrong in every word: what none of the observed
ones was. Without that one, an error that is rare and large is not in the bound until it is seen.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from turngap.model.figures import WordErrors
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import stats

_LOG_TIMES = np.arange(-16.0, 16.0, 0.04)
_TIMES = np.exp(_LOG_TIMES)


class Utterance(NamedTuple):
    """The word errors of one utterance."""

    errors: int
    words: int


def wer_upper(errors: Sequence[int], words: Sequence[int], confidence: float = stats.CONFIDENCE) -> float:
    """Return the one-sided upper bound at `confidence` on the word error rate, from each utterance's errors and words.

    The bound is the quantile of sum(D * errors) / sum(D * words), where D is uniform on the simplex (a Bayesian
    bootstrap) of the n utterances and of one more: of the mean length (by words), wrong in every word, and with as many
    words too many as the worst of them. Where all have the same length and are right or wrong as a whole, it is the
    Clopper-Pearson bound. (The bound of Gaffke, 2005, as Learned-Miller and Thomas write it in "A new confidence
    interval for the mean of a bounded random variable", 2019, arXiv:1905.06208; here for a ratio.)

    What it bounds: the rate in which a transcript counts at most as many errors as its reference has words. A
    transcript can be longer without limit, and no bound from a sample holds for errors without limit that are too rare
    to be seen; those that were seen are all in the bound. `benchmarks/word_errors.py` simulates its coverage.

    Raises:
        ValueError: lengths differ, there are no utterances, or an utterance has no words or negative errors.
    """
    return _quantile(*_add_worst(_check_utterances(errors, words)), confidence)


def is_wer_within(errors: Sequence[int], words: Sequence[int], rate: float, confidence: float) -> bool:
    """Return whether `wer_upper` is at most `rate`: one look at the distribution instead of the search for the bound.

    Raises:
        ValueError: as `wer_upper`.
    """
    counts, more_errors, more_words = _add_worst(_check_utterances(errors, words))
    ratios = [more_errors / more_words, *(one.errors / one.words for one, _ in counts)]
    if not min(ratios) < rate < max(ratios):
        return rate >= max(ratios)
    return _probability_within(counts, more_errors, more_words, rate) >= confidence


def wer_lower(errors: Sequence[int], words: Sequence[int], confidence: float = stats.CONFIDENCE) -> float:
    """Return the one-sided lower bound at `confidence` on the rate that `wer_upper` bounds from above.

    As there, but the utterance that is added is right in every word, and no transcript counts more errors than its
    reference has words.

    Raises:
        ValueError: as `wer_upper`.
    """
    pairs = [Utterance(min(one), one.words) for one in _check_utterances(errors, words)]
    return _quantile(_count(pairs), 0.0, _mean_words(pairs), 1 - confidence)


def _check_utterances(errors: Sequence[int], words: Sequence[int]) -> list[Utterance]:
    if len(errors) != len(words) or not errors or min(words) < 1 or min(errors) < 0:
        raise ValueError(f"errors of {len(errors)} utterances, words of {len(words)}; each needs words, at least 1")
    return [Utterance(int(count), int(length)) for count, length in zip(errors, words, strict=True)]


def _add_worst(pairs: Sequence[Utterance]) -> tuple[tuple[tuple[Utterance, int], ...], float, float]:
    """Return the utterances with their numbers, and errors and words of the one that the upper bound adds."""
    too_many = max(0.0, max(float(one.errors - one.words) for one in pairs))
    length = _mean_words(pairs)
    return _count(pairs), length + too_many, length


def _mean_words(pairs: Sequence[Utterance]) -> float:
    """Return the mean length of the utterance that a word is in.

    With the mean over utterances the bound would be 0.5 % too weak where lengths differ.
    """
    return sum(one.words**2 for one in pairs) / sum(one.words for one in pairs)


def _count(pairs: Sequence[Utterance]) -> tuple[tuple[Utterance, int], ...]:
    return tuple(sorted(Counter(pairs).items()))


@functools.lru_cache(maxsize=4096)
def _quantile(
    counts: tuple[tuple[Utterance, int], ...], more_errors: float, more_words: float, probability: float
) -> float:
    """Return a quantile of the rate of utterances with random weights, with one more of so many errors and words."""
    ratios = [more_errors / more_words, *(one.errors / one.words for one, _ in counts)]
    low, high = min(ratios), max(ratios)
    if low == high:
        return high

    def excess(rate: float) -> float:
        return _probability_within(counts, more_errors, more_words, rate) - probability

    # At either end all terms have one sign, and the probability is 0 or 1: the root is inside, or nearer than this.
    margin = (high - low) * 1e-9
    if excess(high - margin) <= 0:
        return high
    if excess(low + margin) >= 0:
        return low
    return float(brentq(excess, low + margin, high - margin, xtol=1e-7))


def _probability_within(
    counts: tuple[tuple[Utterance, int], ...], more_errors: float, more_words: float, rate: float
) -> float:
    """Return the probability that the rate of utterances with random weights, and one more, is at most `rate`."""
    errors, words = np.array([one for one, _ in counts], dtype=np.float64).T
    errors, words = np.append(errors, more_errors), np.append(words, more_words)
    weights = np.array([*(count for _, count in counts), 1], dtype=np.float64)
    return _probability_negative((errors - rate * words) / more_words, weights)


def _probability_negative(terms: stats.Floats, weights: stats.Floats) -> float:
    """Return P(sum of terms * G <= 0), where G are independent gamma variables of shape `weights` and scale 1.

    Gil-Pelaez's inversion of the characteristic function, on a logarithmic grid.
    """
    angles = np.arctan(np.outer(_TIMES, terms)) @ weights
    log_sizes = np.log1p(np.outer(_TIMES, terms) ** 2) @ weights / 2
    integral = float(np.sum(np.exp(-log_sizes) * np.sin(angles)) * (_LOG_TIMES[1] - _LOG_TIMES[0]))
    return 0.5 - integral / np.pi


def pool_word_errors(turns: Iterable[TurnRecord], c: float = stats.CONFIDENCE) -> WordErrors | None:
    """Return the pooled word errors of the turns that need an answer; None if none of them has a transcript.

    A turn without a transcript, although others have one, counts all its words as missed, whatever its outcome: an
    agent that did not hear it, or lost the words. Invalid turns are left out.
    """
    counted = [turn for turn in turns if turn.expectation.needs_answer and turn.outcome is not Outcome.INVALID]
    if all(turn.word_errors is None for turn in counted):
        return None
    utterances = [(turn, utterance) for turn in counted if (utterance := count_word_errors(turn)) is not None]
    errors, words = [one.errors for _, one in utterances], [one.words for _, one in utterances]
    return WordErrors(
        turns=len(utterances),
        errors=sum(errors),
        words=sum(words),
        wer=sum(errors) / sum(words),
        upper=wer_upper(errors, words, c),
        without_transcript=sum(turn.word_errors is None for turn, _ in utterances),
        lower=wer_lower(errors, words, c),
        runaway=stats.rate(sum(one.errors > one.words for _, one in utterances), len(utterances)),
    )


def count_word_errors(turn: TurnRecord) -> Utterance | None:
    """Return a turn's word errors; without a transcript all words of its reference. None without reference words."""
    if turn.word_errors is not None and turn.words:
        return Utterance(turn.word_errors, turn.words)
    # Older runs did not record the words of a turn without a transcript.
    words = turn.words or len((turn.reference or "").split())
    return Utterance(words, words) if words else None
