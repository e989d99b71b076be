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
    if len(errors) != len(words) or not errors or min(words) < 1 or min(errors) < 0:
        raise ValueError(f"errors of {len(errors)} utterances, words of {len(words)}; each needs words, at least 1")
    counts = Counter(zip(map(int, errors), map(int, words), strict=True))
    return _upper(tuple(sorted(counts.items())), confidence)


@functools.lru_cache(maxsize=4096)
def _upper(counts: tuple[tuple[tuple[int, int], int], ...], confidence: float) -> float:
    pairs = np.array([pair for pair, _ in counts], dtype=np.float64)
    weights = np.array([count for _, count in counts], dtype=np.float64)
    # The mean length of the utterance that a word is in: with the mean of the utterances, lengths that differ make the
    # bound 0.5 % too weak.
    mean_words = float(pairs[:, 1] ** 2 @ weights / (pairs[:, 1] @ weights))
    too_many = max(0.0, float((pairs[:, 0] - pairs[:, 1]).max()))
    errors, words = np.append(pairs[:, 0], mean_words + too_many), np.append(pairs[:, 1], mean_words)
    weights = np.append(weights, 1.0)
    ratios = errors / words
    low, high = float(ratios.min()), float(ratios.max())
    if low == high:
        return high

    def excess(rate: float) -> float:
        return _probability_negative((errors - rate * words) / mean_words, weights) - confidence

    # At either end all terms have one sign, and the probability is 0 or 1: the root is inside.
    margin = (high - low) * 1e-9
    if excess(high - margin) <= 0:
        return high
    return float(brentq(excess, low + margin, high - margin, xtol=1e-7))


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
        runaway=stats.rate(sum(one.errors > one.words for _, one in utterances), len(utterances)),
    )


def count_word_errors(turn: TurnRecord) -> Utterance | None:
    """Return a turn's word errors; without a transcript all words of its reference. None without reference words."""
    if turn.word_errors is not None and turn.words:
        return Utterance(turn.word_errors, turn.words)
    # Older runs did not record the words of a turn without a transcript.
    words = turn.words or len((turn.reference or "").split())
    return Utterance(words, words) if words else None
