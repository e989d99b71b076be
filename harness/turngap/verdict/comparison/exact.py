"""Exact tests and intervals for two runs, as pairs or as two samples. Pure.

Latencies are arrays in which an unanswered turn is +inf: it ranks last, and no interval needs its value. Every test is
one-sided ("head has more") and returns its p-value with the smallest that it could have returned on such data, which
`adjust` needs. Sources: sign and McNemar's test (Conover, *Practical Nonparametric Statistics*, 3.4 and 3.5), signed
ranks and rank sums (Wilcoxon 1945, Mann and Whitney 1947), Fisher's exact test; the interval of a difference of shares
by square-and-add of Wilson's limits (Newcombe 1998, method 10; Tang 2010 for discordant pairs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from turngap.verdict.stats import Floats

Bools = npt.NDArray[np.bool_]
Interval = tuple[float, float]
LEVEL = 0.95
"""Of all intervals."""
_Z = 1.959963984540054
_EXACT_UP_TO = 60
"""Signed ranks of more pairs are taken by their normal approximation, which is good to 1 % of p there."""
_STEPS = 40
"""Of bisection: a range of 60 s is narrowed to less than a microsecond."""


class Tail(NamedTuple):
    """A one-sided p-value, and the smallest that was possible given how many turns carry any information."""

    p: float
    least: float


NOTHING = Tail(1.0, 1.0)


def compare_events(head: Bools, base: Bools, *, paired: bool) -> Tail:
    """Test "head has more events": McNemar's exact test for pairs, Fisher's for two samples."""
    if paired:
        more, fewer = int((head & ~base).sum()), int((base & ~head).sum())
        if not more + fewer:
            return NOTHING
        return Tail(float(special.bdtrc(more - 1, more + fewer, 0.5)) if more else 1.0, 0.5 ** (more + fewer))
    n, m, events = len(head), len(base), int(head.sum() + base.sum())
    if not events or events == n + m:
        return NOTHING
    counts = np.arange(int(head.sum()), min(n, events) + 1)  # of the head's events, at least as many as there are
    shares = np.exp(_log_choose(n, counts) + _log_choose(m, events - counts) - _log_choose(n + m, np.asarray([events])))
    return Tail(min(1.0, float(shares.sum())), float(shares[-1]))


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> Floats:
    logs: Floats = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return logs


def compare_signed_sum(scores: npt.NDArray[np.int64]) -> Tail:
    """Test "the scores of pairs are larger than 0" against all flips of their signs, by convolution."""
    scores = scores[scores != 0]
    if not len(scores):
        return NOTHING
    total = int(np.abs(scores).sum())
    shares = np.zeros(total + 1)
    shares[0], top = 1.0, 0
    for score in np.abs(scores):  # the law of the sum of the scores whose sign comes out as plus
        shares[score : top + score + 1] = 0.5 * (_shifted(shares, int(score), top))
        shares[:score] *= 0.5
        top += int(score)
    observed = int(scores[scores > 0].sum())
    return Tail(min(1.0, float(shares[observed:].sum())), 0.5 ** len(scores))


def _shifted(shares: Floats, score: int, top: int) -> Floats:
    """Return shares[s] + shares[s - score] for s from `score` to `top + score`."""
    return shares[score : top + score + 1] + shares[: top + 1]


def compare_signed_ranks(differences: Floats) -> Tail:
    """Test "the differences of pairs are larger than 0" by Wilcoxon's signed ranks; ±inf rank last."""
    differences = differences[differences != 0]
    if not len(differences):
        return NOTHING
    finite = np.abs(differences[np.isfinite(differences)])
    sizes = np.where(np.isinf(differences), 2 * finite.max(initial=1.0), np.abs(differences))
    ranks = stats.rankdata(sizes)
    if len(differences) <= _EXACT_UP_TO:
        return compare_signed_sum(np.rint(2 * ranks * np.sign(differences)).astype(np.int64))
    sd = 0.5 * math.sqrt(float((ranks**2).sum()))
    plus = float(ranks[differences > 0].sum())
    return Tail(float(special.ndtr(-(plus - ranks.sum() / 2 - 0.5) / sd)), 0.5 ** len(differences))


def compare_ranks(head: Floats, base: Floats) -> Tail:
    """Test "head is larger" by Mann-Whitney's U."""
    least = 1 / math.comb(len(head) + len(base), len(head))
    return Tail(float(stats.mannwhitneyu(head, base, alternative="greater").pvalue), least)


def count_over_quantile(head: Floats, base: Floats, q: float) -> tuple[Bools, Bools]:
    """Return which turns are over the q-quantile of both runs together; unanswered ones always are.

    A threshold from one run alone would lie nearer to that run's own chance values: the other would exceed it more
    often although nothing changed. The pooled one does not change if the runs change places, so that the test of the
    counts stays exact.
    """
    pooled = np.concatenate([head, base])
    most = min(max(1, math.floor((1 - q) * len(pooled) + 1e-9)), len(pooled) - 1)
    place = len(pooled) - most - 1
    threshold = float(np.partition(pooled, place)[place])
    return (head > threshold) | np.isinf(head), (base > threshold) | np.isinf(base)


def compare_quantiles(head: Floats, base: Floats, q: float, shift: float, *, paired: bool) -> Tail:
    """Test "the q-quantile of head is more than `shift` over that of base", by turns over the pooled quantile."""
    return compare_events(*count_over_quantile(head - shift, base, q), paired=paired)


def quantile_interval(head: Floats, base: Floats, q: float, *, paired: bool, level: float = LEVEL) -> Interval:
    """Return the interval of the change of the q-quantile: the shifts that `compare_quantiles` does not reject.

    An end is infinite where too few turns, or too many unanswered ones, bound it.
    """
    values = np.concatenate([head, base])
    finite = values[np.isfinite(values)]
    span = float(finite.max() - finite.min()) + 1.0 if len(finite) else 1.0
    alpha = (1 - level) / 2
    low = _boundary(lambda d: compare_quantiles(head, base, q, d, paired=paired).p <= alpha, span)
    high = -_boundary(lambda d: compare_quantiles(base, head, q, d, paired=paired).p <= alpha, span)
    return low, high


def _boundary(is_rejected: Callable[[float], bool], span: float) -> float:
    """Return the largest shift from -span to span that is rejected, where all smaller ones are too."""
    if not is_rejected(-span):
        return -math.inf
    if is_rejected(span):
        return math.inf
    low, high = -span, span
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_rejected(middle) else (low, middle)
    return low


def pair_differences(head: Floats, base: Floats) -> tuple[Floats, Floats]:
    """Return the differences of pairs twice, once at their lowest and once at their highest.

    They are the same but for pairs that neither run answered: inf - inf is unknown, so it is -inf in the first and +inf
    in the second.
    """
    neither = np.isinf(head) & np.isinf(base)
    differences = np.where(neither, 0.0, head) - np.where(neither, 0.0, base)
    return np.where(neither, -np.inf, differences), np.where(neither, np.inf, differences)


def median_interval(lowest: Floats, highest: Floats | None = None, level: float = LEVEL) -> Interval:
    """Return the exact interval of the median, by order statistics (the sign test inverted); infinite if n < 6."""
    n = len(lowest)
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # P(X < k) <= (1 - level) / 2
    if k < 1:
        return -math.inf, math.inf
    top = lowest if highest is None else highest
    return float(np.partition(lowest, k - 1)[k - 1]), float(np.partition(top, n - k)[n - k])


def share_interval(more: int, n: int, fewer: int, m: int) -> Interval:
    """Return the interval of more/n - fewer/m.

    Two samples: events and turns of each. Pairs: the discordant ones on either side, each of all pairs.
    """
    (one, low_one, high_one), (two, low_two, high_two) = _wilson(more, n), _wilson(fewer, m)
    low = one - two - math.hypot(one - low_one, high_two - two)
    return low, one - two + math.hypot(high_one - one, two - low_two)


def _wilson(events: int, n: int) -> tuple[float, float, float]:
    rate, z2 = events / n, _Z**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return rate, max(0.0, centre - half), min(1.0, centre + half)


def adjust(tails: Sequence[Tail], alpha: float) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), after Tarone (1990): 1.0 for those that can't count.

    One false finding in any measure makes the whole comparison false, hence the family-wise error and not the share of
    false findings (Benjamini-Hochberg). Measures with so few events that no result of theirs could have been
    significant need no share of alpha: the family is the largest one whose members all could.
    """
    size = next((k for k in range(1, len(tails) + 1) if sum(tail.least * k < alpha for tail in tails) <= k), len(tails))
    family = sorted(
        (place for place, tail in enumerate(tails) if tail.least * size < alpha), key=lambda place: tails[place].p
    )
    adjusted, largest = [1.0] * len(tails), 0.0
    for rank, place in enumerate(family):
        largest = max(largest, min(1.0, (len(family) - rank) * tails[place].p))
        adjusted[place] = largest
    return adjusted
