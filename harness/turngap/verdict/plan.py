"""Sequential plans for one limit: after how many turns which number of misses shows it to be met, or missed. Exact.

A turn over a limit is a miss. A limit "the q-quantile is at most x" says that misses are at most 1 - q of all turns; a
limit on a rate says so of its events. A plan for at most N turns has

- points (n_j, j): with at most j misses in n_j turns or more the limit is shown to be met. They lie on the line of
  Wald's sequential test between `miss_rate` and a fifth of it, truncated at N;
- bounds (m, n): m misses within n turns show the limit to be missed.

Both probabilities of error are computed by dynamic programming over turns and misses, not approximated: an agent that
misses exactly `miss_rate` of its turns is shown to meet the limit with probability `false_pass` at most, and shown to
miss it with `false_fail` at most. Source of the line: A. Wald, *Sequential Analysis* (1947), chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats as distributions

from turngap.verdict import probabilities, stats

GOOD_SHARE = 0.2
"""Plans are made for an agent that misses this share of what the limit allows: 1 % of its turns where 5 % may miss."""
POWER = 0.955
"""A plan passes such an agent with this probability if N allows it; of those that do, it is the shortest."""
MOST_COST = 0.15
"""So much power may be lost so that a limit about few turns does not hold up a run without a miss."""
LEAST_MISSES = 5
"""No run ends before its fifth miss only because it can't pass any more."""
_EARLY_SHARE = 0.9
"""Share of `false_fail` that is spent where the run ends because it can't pass any more."""
_SLOPES = (0.7, 0.85, 1.0, 1.15, 1.3, 1.5)
"""Slopes of the line that are tried, relative to Wald's."""


@dataclass(frozen=True, slots=True)
class Course:
    """How runs under a plan end, as probabilities, and how long they are."""

    passes: float
    fails: float
    expected_turns: float


@dataclass(frozen=True, slots=True)
class Plan:
    """When a limit is decided, in a run of at most `turns` turns."""

    turns: int
    miss_rate: float
    """The share of all turns that the limit allows to miss."""
    false_pass: float
    """The most that the probability of a false PASS may be."""
    false_fail: float
    pass_from: tuple[int, ...]
    """By number of misses: from how many turns on the limit is shown to be met with at most so many. () if never."""
    fail_within: tuple[tuple[int, int], ...]
    """(misses, turns): so many misses within so many turns show the limit to be missed; both ascending."""
    bursts: int = 1
    """Misses may come in runs of this mean length, and `false_pass` still holds."""

    def allowed(self, turns: int) -> int:
        """Return the most misses with which `turns` turns show the limit to be met; -1: not with any number."""
        return sum(start <= turns for start in self.pass_from) - 1

    def shows_within(self, misses: int, turns: int) -> bool:
        """Return whether so many misses among so many turns show the limit to be met."""
        return misses <= self.allowed(turns)

    def shows_over(self, misses: int, turns: int) -> bool:
        """Return whether so many misses among so many turns show the limit to be missed."""
        return any(misses >= least and turns <= within for least, within in self.fail_within)

    @property
    def last_miss(self) -> int:
        """At this miss a run ends: the limit can't be shown to be met any more.

        Never before the `LEAST_MISSES`-th, so that an agent far over the limit is shown to be over by a short plan too.
        """
        return max(len(self.pass_from), LEAST_MISSES)

    def allowed_at_end(self, turns: int) -> int:
        """Return the most misses with which a run that has ended after `turns` turns of this kind shows the limit met.

        The number of turns of one kind, such as replies, is not known before the run. The last look is taken where it
        ended: at the most misses with which all looks together still keep to `false_pass`. -1: not with any number.
        """
        looks = [(start, misses) for misses, start in enumerate(self.pass_from) if start < turns]
        allowed = self.allowed(turns)
        for misses in range(max(allowed, 0), turns):
            points = probabilities.merge_looks([*looks, (turns, misses)])
            if probabilities.worst_pass(points, self.miss_rate, self.bursts) > self.false_pass:
                return max(allowed, misses - 1)
        return allowed

    def course(self, miss_rate: float, bursts: float = 1.0) -> Course:
        """Return how runs end and how long they are, for an agent that misses `miss_rate` of its turns.

        `bursts` is the mean length of runs of misses (a two-state Markov chain); 1 for independent turns. The run ends
        when the limit is shown to be met or to be missed, or can't be shown to be met any more.
        """
        out = self.last_miss
        alive = probabilities.start_chain(miss_rate, out + 1)
        passes = fails = expected = 0.0
        for turn in range(1, self.turns + 1):
            expected += float(alive.sum())
            alive = probabilities.step_chain(alive, miss_rate, bursts)
            allowed = self.allowed(turn)
            if allowed >= 0:
                passes += float(alive[:, : allowed + 1].sum())
                alive[:, : allowed + 1] = 0
            for misses in range(1, out + 1):
                over = self.shows_over(misses, turn)
                if over or misses == out:
                    fails += float(alive[:, misses].sum()) if over else 0.0
                    alive[:, misses] = 0
        return Course(passes, fails, expected)

    def power(self, miss_rate: float, bursts: float = 1.0) -> float:
        """Return the probability that the limit is shown to be met by an agent that misses `miss_rate` of its turns."""
        return self.course(miss_rate, bursts).passes

    def expected_turns(self, miss_rate: float, bursts: float = 1.0) -> float:
        """Return the mean number of turns until the limit is decided, for an agent that misses `miss_rate` of them."""
        return self.course(miss_rate, bursts).expected_turns


@lru_cache(maxsize=256)
def plan_sequential(
    turns: int,
    miss_rate: float,
    false_pass: float = 0.05,
    false_fail: float = 0.05,
    bursts: int = 1,
    first_by: int | None = None,
) -> Plan:
    """Return the plan for at most `turns` turns: the shortest with enough power, or else the one with the most.

    `first_by`: without a miss the limit is shown to be met by so many turns, unless that costs more than `MOST_COST` of
    the power.

    Raises:
        ValueError: a probability is not between 0 and 1, or there are no turns.
    """
    if turns < 1 or bursts < 1 or not (0 < miss_rate < 1 and 0 < false_pass < 1 and 0 < false_fail < 1):
        raise ValueError(f"turns {turns}, miss rate {miss_rate}, errors {false_pass}, {false_fail}, bursts {bursts}")
    good = GOOD_SHARE * miss_rate
    ranked: list[tuple[tuple[float, ...], tuple[int, ...]]] = []
    for pass_from in _candidates(turns, miss_rate, false_pass, bursts):
        course = Plan(turns, miss_rate, false_pass, false_fail, pass_from, (), bursts).course(good)
        enough = course.passes >= POWER
        rank = (float(enough), -course.expected_turns if enough else course.passes, course.passes)
        ranked.append((rank, pass_from))
    best, chosen = max(ranked, key=lambda each: each[0], default=((0.0,), ()))
    sooner = [each for each in ranked if first_by is not None and each[1][0] <= first_by]
    if sooner:
        strongest = max(sooner, key=lambda each: each[0])
        chosen = strongest[1] if strongest[0][-1] >= best[-1] - MOST_COST else chosen
    fails = _plan_fails(turns, miss_rate, false_fail, max(len(chosen), LEAST_MISSES))
    return Plan(turns, miss_rate, false_pass, false_fail, chosen, fails, bursts)


@lru_cache(maxsize=1024)
def plan_fixed(
    turns: int, miss_rate: float, false_pass: float = 0.05, false_fail: float = 0.05, bursts: int = 1
) -> Plan:
    """Return the plan that decides once, after exactly `turns` turns: the exact binomial test."""
    allowed = _most_at_end(turns, miss_rate, false_pass, bursts)
    over = int(distributions.binom.isf(false_fail, turns, miss_rate)) + 1
    fails = ((over, turns),) if over <= turns else ()
    return Plan(turns, miss_rate, false_pass, false_fail, (turns,) * (allowed + 1), fails, bursts)


def _most_at_end(turns: int, miss_rate: float, false_pass: float, bursts: int) -> int:
    if bursts == 1:
        most = stats.misses_allowed(turns, 1 - miss_rate, 1 - false_pass)
        return -1 if most is None else most
    most = -1
    while most + 1 < turns and probabilities.worst_pass([(turns, most + 1)], miss_rate, bursts) <= false_pass:
        most += 1
    return most


def _candidates(turns: int, miss_rate: float, false_pass: float, bursts: int) -> list[tuple[int, ...]]:
    """Return the steps of each plan that is considered: lines of several slopes, each as low as is permitted."""
    most = _most_at_end(turns, miss_rate, false_pass, bursts)
    found: dict[tuple[int, ...], None] = {}
    good = GOOD_SHARE * miss_rate
    odds = math.log(miss_rate * (1 - good) / (good * (1 - miss_rate)))
    slope = math.log((1 - good) / (1 - miss_rate)) / odds
    for last in range(most, max(-1, most - 3), -1):
        found[(turns,) * (last + 1)] = None
        for factor in _SLOPES:
            low, high = 0.0, turns * slope * factor
            for _ in range(24):
                middle = (low + high) / 2
                steps = _line(turns, last, slope * factor, middle)
                points = probabilities.merge_looks([(start, misses) for misses, start in enumerate(steps)])
                if probabilities.worst_pass(points, miss_rate, bursts) <= false_pass:
                    high = middle
                else:
                    low = middle
            steps = _line(turns, last, slope * factor, high)
            points = probabilities.merge_looks([(start, misses) for misses, start in enumerate(steps)])
            if probabilities.worst_pass(points, miss_rate, bursts) <= false_pass:
                found[steps] = None
    return list(found)


def _line(turns: int, last: int, slope: float, height: float) -> tuple[int, ...]:
    """Return from how many turns on 0, 1, ... `last` misses pass: misses ≤ slope · n - height, `last` at the end."""
    return tuple(min(turns, max(misses + 1, math.ceil((misses + height) / slope))) for misses in range(last + 1))


def _plan_fails(turns: int, miss_rate: float, false_fail: float, out: int) -> tuple[tuple[int, int], ...]:
    """Return which misses within how many turns show the limit to be missed.

    A run ends at its `out`-th miss, so most of `false_fail` is spent there; the rest serves runs that went on because
    calls were under way.
    """
    binom = distributions.binom
    within = 0
    while within < turns and binom.sf(out - 1, within + 1, miss_rate) <= _EARLY_SHARE * false_fail:
        within += 1
    early: tuple[tuple[int, int], ...] = ((out, within),) if within >= out else ()
    low, high = 0.0, false_fail
    chosen = early
    for _ in range(20):
        level = (low + high) / 2
        fails = _join_fails(early, _constant_level(turns, miss_rate, level))
        if probabilities.ever_fails(fails, turns, miss_rate) <= false_fail:
            low, chosen = level, fails
        else:
            high = level
    return chosen


def _constant_level(turns: int, miss_rate: float, level: float) -> tuple[tuple[int, int], ...]:
    if level <= 0:
        return ()
    least = np.asarray(distributions.binom.isf(level, np.arange(1, turns + 1), miss_rate)).astype(int) + 1
    last: dict[int, int] = {}
    for turn, misses in enumerate(least, 1):
        if misses <= turn:
            last[int(misses)] = turn
    return tuple(sorted(last.items()))


def _join_fails(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the bounds of both without those that others include."""
    kept: list[tuple[int, int]] = []
    for misses, within in sorted([*one, *other], key=lambda bound: (bound[0], -bound[1])):
        if not kept or within > kept[-1][1]:
            kept.append((misses, within))
    return tuple(kept)
