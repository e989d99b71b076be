"""Probabilities of numbers of misses, turn by turn: exact, for independent turns and for misses in runs. Pure.

A turn over a limit is a miss. The state of a run is an array of shape (2, misses + 1): whether the last turn was one,
and how many there were so far. Runs of misses are those of a two-state Markov chain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def chain(miss_rate: float, bursts: float = 1.0) -> tuple[float, float]:
    """Return the probabilities of a miss after a miss, and after a turn that was none: runs have the mean `bursts`.

    Runs of independent misses have the mean 1 / (1 - miss_rate), and are never shorter here.
    """
    stay = max(miss_rate, 1 - 1 / bursts)
    return stay, miss_rate * (1 - stay) / (1 - miss_rate)


def start_chain(miss_rate: float, sizes: int) -> Floats:
    """Return the state before the first turn, with room for 0 to `sizes` - 1 misses: no miss is counted yet."""
    alive = np.zeros((2, sizes))
    alive[:, 0] = 1 - miss_rate, miss_rate  # the turn before the first
    return alive


def step_chain(alive: Floats, miss_rate: float, bursts: float = 1.0) -> Floats:
    """Return the state one turn later; runs with more misses than there is room for are left out."""
    stay, enter = chain(miss_rate, bursts)
    after = np.zeros_like(alive)
    after[0] = alive[0] * (1 - enter) + alive[1] * (1 - stay)
    after[1, 1:] = (alive[0] * enter + alive[1] * stay)[:-1]
    return after


@lru_cache(maxsize=1024)
def turns_against_bursts(misses: int, miss_rate: float, false_pass: float, bursts: float) -> int:
    """Return from how many turns on so many misses show the limit to be met, if they come in runs of mean `bursts`."""
    few, turns = start_chain(miss_rate, misses + 1), 0
    while few.sum() > false_pass:
        few, turns = step_chain(few, miss_rate, bursts), turns + 1
    return turns


def merge_looks(looks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the looks (turns, misses allowed), ascending, one for each number of turns."""
    most: dict[int, int] = {}
    for turns, misses in looks:
        most[turns] = max(misses, most.get(turns, -1))
    return sorted(most.items())


def worst_pass(points: Sequence[tuple[int, int]], miss_rate: float, bursts: int) -> float:
    """Return the largest probability of passing at one of the points, over runs of misses of mean 1 to `bursts`."""
    return max([_pass_independent(points, miss_rate), *(_pass(points, miss_rate, n) for n in range(2, bursts + 1))])


def ever_fails(fails: Sequence[tuple[int, int]], turns: int, miss_rate: float) -> float:
    """Return the probability that independent turns are ever shown to be over, in a run that never ends early."""
    if not fails:
        return 0.0
    size = fails[-1][0] + 1
    alive, total = start_chain(miss_rate, size + 1), 0.0
    for turn in range(1, turns + 1):
        alive = step_chain(alive, miss_rate)
        least = min((misses for misses, within in fails if turn <= within), default=size + 1)
        total += float(alive[:, least:].sum())
        alive[:, least:] = 0.0
    return total


def _pass_independent(points: Sequence[tuple[int, int]], miss_rate: float) -> float:
    """Return the probability that independent turns pass at one of the points (turns, misses allowed).

    The turns between two points are one step, which is faster than `_pass`: plans are searched with it.
    """
    if not points:
        return 0.0
    size = points[-1][1] + 1
    alive = np.zeros(size)
    alive[0] = 1.0
    total, before = 0.0, 0
    for turns, allowed in points:
        alive = np.convolve(alive, _binomial(turns - before, miss_rate, size))[:size]
        total += float(alive[: allowed + 1].sum())
        alive[: allowed + 1] = 0.0
        before = turns
    return total


def _binomial(turns: int, miss_rate: float, size: int) -> Floats:
    """Return the probabilities of 0, 1, ... size - 1 misses in `turns` turns."""
    misses = np.arange(min(size, turns + 1))
    steps = np.log((turns - misses[:-1]) / (misses[:-1] + 1)) + math.log(miss_rate / (1 - miss_rate))
    logs = turns * math.log1p(-miss_rate) + np.concatenate([np.zeros(1), np.cumsum(steps)])
    return np.asarray(np.exp(logs), dtype=np.float64)


def _pass(points: Sequence[tuple[int, int]], miss_rate: float, bursts: float) -> float:
    """As `_pass_independent`, for turns whose misses come in runs of mean length `bursts`."""
    if not points:
        return 0.0
    allowed = dict(points)
    alive, total = start_chain(miss_rate, points[-1][1] + 2), 0.0
    for turn in range(1, points[-1][0] + 1):
        alive = step_chain(alive, miss_rate, bursts)
        if turn in allowed:
            total += float(alive[:, : allowed[turn] + 1].sum())
            alive[:, : allowed[turn] + 1] = 0.0
    return total
