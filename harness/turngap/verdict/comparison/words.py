"""Word errors of two runs: the utterance is the unit, since the errors of one utterance come together. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turngap.verdict.comparison.exact import LEVEL, Interval, Tail, compare_signed_sum, share_interval

Integers = npt.NDArray[np.int64]
_RESAMPLES = 2000
_PERMUTATIONS = 3999


def compare_words(
    head_errors: Integers, head_words: Integers, base_errors: Integers, base_words: Integers, *, paired: bool
) -> tuple[Tail, Tail, Interval]:
    """Return the tests of "more errors" and of "fewer errors", and the interval of the change of the word error rate.

    Pairs: all flips of the signs of the differences of errors, exactly. Two samples: seeded permutations of the
    utterances. The interval is a percentile bootstrap over utterances (seeded); what it can't see is `hidden_share`.
    """
    rng = np.random.default_rng(1)
    if paired:
        moved = head_errors - base_errors
        worse, better = compare_signed_sum(moved), compare_signed_sum(-moved)
    else:
        worse, better = _permute(head_errors, head_words, base_errors, base_words, rng)
    rows = rng.integers(0, len(head_errors), (_RESAMPLES, len(head_errors)))
    others = rows if paired else rng.integers(0, len(base_errors), (_RESAMPLES, len(base_errors)))
    changes = _rates(head_errors, head_words, rows) - _rates(base_errors, base_words, others)
    low, high = (float(value) for value in np.quantile(changes, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    return worse, better, (low, high)


def hidden_share(head: int, base: int) -> float:
    """Return the change that so many utterances can hide: rare faults of whole ones may be in neither run by chance."""
    low, high = share_interval(0, head, 0, base)
    return max(-low, high)


def _rates(errors: Integers, words: Integers, rows: Integers) -> npt.NDArray[np.float64]:
    rates: npt.NDArray[np.float64] = errors[rows].sum(axis=1) / np.maximum(words[rows].sum(axis=1), 1)
    return rates


def _permute(
    head_errors: Integers, head_words: Integers, base_errors: Integers, base_words: Integers, rng: np.random.Generator
) -> tuple[Tail, Tail]:
    errors, words = np.concatenate([head_errors, base_errors]), np.concatenate([head_words, base_words])
    if not errors.any():
        return Tail(1.0, 1.0), Tail(1.0, 1.0)
    n = len(head_errors)
    order = np.argsort(rng.random((_PERMUTATIONS, len(errors))), axis=1)
    one, other = order[:, :n], order[:, n:]
    changes = _rates(errors, words, one) - _rates(errors, words, other)
    size = head_errors.sum() / head_words.sum() - base_errors.sum() / base_words.sum()
    least = 1 / (_PERMUTATIONS + 1)
    p_values = ((1 + int((side >= at - 1e-12).sum())) * least for side, at in ((changes, size), (-changes, -size)))
    worse, better = (Tail(p, least) for p in p_values)
    return worse, better
