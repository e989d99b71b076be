"""Whether the turns of a run are independent: runs of misses, autocorrelation of gaps, stretches of slow turns. Pure.

The plans count turns as independent. Each test here has the level `LEVEL` for turns that are, exact or by permutation;
the permutations are seeded, so that the same turns always get the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats as distributions

from turngap.verdict.stats import Floats, Values

LEVEL = 0.005
LEAST_TURNS = 20
"""With fewer gaps, autocorrelation and stretches are not tested."""
PERMUTATIONS = 5999
_SEED = 14
_SHARES = (0.04, 0.07, 0.1, 0.15, 0.22, 0.33)
"""Lengths of the stretches that are tested, as shares of the run."""
_LEAST_STRETCH = 5


@dataclass(frozen=True, slots=True)
class Runs:
    """How the misses of a run lie."""

    misses: int
    turns: int
    longest: int
    """Length of the longest run of misses."""
    p_value: float
    """Probability of as few runs or fewer, of as many misses in random order."""


@dataclass(frozen=True, slots=True)
class Autocorrelation:
    """The correlation of each gap's rank with that of the next."""

    n: int
    value: float
    low: float
    """95 % interval."""
    high: float
    p_value: float
    """One-sided, against a positive correlation."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The stretch of a run whose gaps differ most from the rest."""

    first: int
    """Place of its first turn among those that have a gap, from 0."""
    length: int
    change_ms: float
    """Its median less that of the other turns."""
    p_value: float


def measure_runs(over: Sequence[bool]) -> Runs:
    """Return how the misses lie, and the exact probability of as few runs of misses (Wald and Wolfowitz, 1940)."""
    flags = [bool(each) for each in over]
    misses, n = sum(flags), len(flags)
    if not misses:
        return Runs(0, n, 0, 1.0)
    runs = sum(flag and not before for flag, before in zip(flags, [False, *flags], strict=False))
    longest = length = 0
    for flag in flags:
        length = length + 1 if flag else 0
        longest = max(longest, length)
    # With r runs: C(misses - 1, r - 1) ways to part the misses, C(n - misses + 1, r) places for the runs.
    total = math.comb(n, misses)
    fewer = sum(math.comb(misses - 1, r - 1) * math.comb(n - misses + 1, r) for r in range(1, runs + 1))
    return Runs(misses, n, longest, fewer / total)


def measure_autocorrelation(values: Values) -> Autocorrelation | None:
    """Return the lag-1 autocorrelation of the ranks of the gaps; None for fewer than `LEAST_TURNS` or equal gaps."""
    ms = _gaps(values)
    if len(ms) < LEAST_TURNS or np.all(ms == ms[0]):
        return None
    value = float(_lag_1(_ranks(ms)[None, :])[0])
    null = _null(len(ms))[0]
    p_value = float(1 + np.count_nonzero(null >= value - 1e-12)) / (len(null) + 1)
    # Fisher's z of the n - 1 pairs.
    z, half = math.atanh(min(max(value, -0.999999), 0.999999)), 1.959964 / math.sqrt(len(ms) - 4)
    return Autocorrelation(len(ms), value, math.tanh(z - half), math.tanh(z + half), p_value)


def find_stretch(values: Values) -> Stretch | None:
    """Return the stretch of turns that are most unlike the rest, slower or faster; None for too few or equal gaps.

    A scan statistic: over all stretches of several lengths, the largest standardised sum of ranks.
    """
    ms = _gaps(values)
    if len(ms) < LEAST_TURNS or np.all(ms == ms[0]):
        return None
    ranks = _ranks(ms)[None, :]
    scores = [(length, _scan(ranks, length)[0]) for length in _lengths(len(ms))]
    length, sizes = max(scores, key=lambda item: float(np.abs(item[1]).max()))
    first = int(np.abs(sizes).argmax())
    null = _null(len(ms))[1]
    p_value = float(1 + np.count_nonzero(null >= abs(float(sizes[first])) - 1e-12)) / (len(null) + 1)
    inside = np.zeros(len(ms), dtype=bool)
    inside[first : first + length] = True
    return Stretch(first, length, float(np.median(ms[inside]) - np.median(ms[~inside])), p_value)


def _gaps(values: Values) -> Floats:
    return np.asarray([value for value in values if value is not None and math.isfinite(value)], dtype=np.float64)


def _ranks(ms: Floats) -> Floats:
    """Return the ranks, of mean 0 and with the variance of 1 ... n whatever ties there are."""
    ranks = np.asarray(distributions.rankdata(ms), dtype=np.float64)
    ranks -= ranks.mean()
    n = len(ms)
    return np.asarray(ranks * math.sqrt((n * n - 1) / 12 / float(np.mean(ranks**2))), dtype=np.float64)


def _lag_1(ranks: Floats) -> Floats:
    """Return the autocorrelation of each row."""
    return np.asarray((ranks[:, 1:] * ranks[:, :-1]).sum(axis=1) / (ranks**2).sum(axis=1), dtype=np.float64)


def _lengths(n: int) -> list[int]:
    return sorted({max(_LEAST_STRETCH, round(share * n)) for share in _SHARES})


def _scan(ranks: Floats, length: int) -> Floats:
    """Return the standardised sum of ranks of each stretch of that length, for each row."""
    n = ranks.shape[1]
    sums = np.cumsum(np.concatenate([np.zeros((len(ranks), 1)), ranks], axis=1), axis=1)
    sizes = sums[:, length:] - sums[:, :-length]
    return np.asarray(sizes / math.sqrt(length * (n - length) * (n + 1) / 12), dtype=np.float64)


@lru_cache(maxsize=512)
def _null(n: int) -> tuple[Floats, Floats]:
    """Return autocorrelation and scan statistic of n turns in random order, `PERMUTATIONS` times."""
    ranks = np.tile(np.arange(n) - (n - 1) / 2, (PERMUTATIONS, 1))
    ranks = np.random.default_rng(_SEED).permuted(ranks, axis=1)
    scan = np.zeros(PERMUTATIONS)
    for length in _lengths(n):
        np.maximum(scan, np.abs(_scan(ranks, length)).max(axis=1), out=scan)
    return _lag_1(ranks), scan
