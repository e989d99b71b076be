"""Simulated runs of the gate: gaps that are drawn in many ways, stopped and checked by the product's own functions.

Gaps are log-normal (log-sd 0.15); the limit is at the quantile that a given share of them misses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import norm
from turngap.verdict import dependence, stats, validity
from turngap.verdict.plan import Plan
from turngap.verdict.probabilities import chain

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Draw = Callable[[np.random.Generator, int, int, float], tuple[Floats, float]]
"""(generator, runs, turns, share of misses) → gaps in ms, shape (runs, turns), and the limit in ms."""

AT_BUDGET = 0.05
LOG_SD = 0.15
MEDIAN_MS = 400.0
SPOILT = 6 / 380
"""Share of turns that the instrument's lateness spoils, as once measured on two shared cores."""
LARGEST_SE = 3.0
"""A simulated probability may be so many standard errors over what is promised."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of the runs."""

    passed: float
    """Shares of all runs."""
    failed: float
    not_shown: float
    invalid: float
    """The limit was shown to be met, and a check forbids the PASS."""
    passed_but_for_checks: float
    mean_turns: float


def draw_independent(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
    """Independent turns."""
    return _gaps(rng.normal(size=(runs, turns))), _limit(misses)


def draw_same_tail(tails: Sequence[object]) -> Draw:
    """Turns whose utterances end with the same prompt miss, or not, together; `tails` are those of the run."""
    groups = np.unique([str(tail) for tail in tails], return_inverse=True)[1]

    def draw(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
        latent = rng.normal(size=(runs, int(groups.max()) + 1))
        return _gaps(latent[:, groups[:turns]]), _limit(misses)

    return draw


def draw_runs_of_misses(length: float) -> Draw:
    """Misses come in runs of that mean length (a two-state Markov chain); otherwise gaps are independent."""

    def draw(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
        stay, enter = chain(misses, length)
        over = np.zeros((runs, turns), dtype=bool)
        last = rng.random(runs) < misses
        for turn in range(turns):
            last = rng.random(runs) < np.where(last, stay, enter)
            over[:, turn] = last
        return _gaps_given(rng, over, misses), _limit(misses)

    return draw


def draw_threes(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
    """Misses come in bursts of exactly three (or more, where bursts meet); otherwise gaps are independent."""
    starts = rng.random((runs, turns + 2)) < 1 - (1 - misses) ** (1 / 3)
    over = starts[:, 2:] | starts[:, 1:-1] | starts[:, :-2]
    return _gaps_given(rng, over, misses), _limit(misses)


def draw_correlated(rho: float) -> Draw:
    """Whole latencies are correlated from turn to turn: a Gaussian copula of an AR(1) process."""

    def draw(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
        noise = rng.normal(size=(runs, turns)) * np.sqrt(1 - rho**2)
        noise[:, 0] = rng.normal(size=runs)
        return _gaps(lfilter([1.0], [1.0, -rho], noise, axis=1)), _limit(misses)

    return draw


def draw_stretch(length: int, later_ms: float) -> Draw:
    """Independent turns, `length` of them in a row later by `later_ms`."""

    def draw(rng: np.random.Generator, runs: int, turns: int, misses: float) -> tuple[Floats, float]:
        gaps, limit_ms = draw_independent(rng, runs, turns, misses)
        first = rng.integers(0, turns - length + 1, size=runs)
        place = np.arange(turns)[None, :]
        late = (place >= first[:, None]) & (place < first[:, None] + length)
        return gaps + later_ms * late, limit_ms

    return draw


def _gaps(latent: Floats) -> Floats:
    return np.asarray(MEDIAN_MS * np.exp(LOG_SD * latent), dtype=np.float64)


def _gaps_given(rng: np.random.Generator, over: Flags, misses: float) -> Floats:
    """Gaps over the limit where `over`, under it elsewhere, of the same distribution."""
    place = rng.random(over.shape)
    return _gaps(norm.ppf(np.where(over, 1 - misses * place, (1 - misses) * place)))


def _limit(misses: float) -> float:
    return float(MEDIAN_MS * np.exp(LOG_SD * norm.ppf(1 - misses)))


def stop_runs(plan: Plan, over: Flags) -> tuple[npt.NDArray[np.int64], Flags, Flags]:
    """Return after how many turns each run stops, and whether the limit is shown to be met, or missed, then.

    The plan's boundaries, turn by turn: the first of met, missed and out of reach.
    """
    turns = np.arange(1, over.shape[1] + 1)
    misses = np.cumsum(over, axis=1)
    least = np.array([min((m for m, within in plan.fail_within if turn <= within), default=10**6) for turn in turns])
    met = misses <= np.array([plan.allowed(int(turn)) for turn in turns])[None, :]
    missed = misses >= least[None, :]
    ends = met | missed | (misses >= plan.last_miss)
    ends[:, -1] = True
    at = ends.argmax(axis=1)
    row = np.arange(len(over))
    return at + 1, met[row, at], missed[row, at]


def find_fault(gaps_ms: Floats, over: Flags) -> str:
    """Return the name of the first check by which the run is INVALID; "" for none."""
    values = [float(gap) for gap in gaps_ms]
    drift = stats.measure_drift(values, alpha=dependence.LEVEL, least=validity.LEAST_CHANGE)
    if drift is not None and drift.drifting:
        return "drift"
    checks = validity.independence_checks(values, [bool(each) for each in over], budgeted=True)
    return next((check.name for check in checks if check.ok is False), "")


def simulate(draw: Draw, plan: Plan, misses: float, runs: int, seed: int) -> Simulated:
    """Simulate runs of an agent that misses a share of its turns; the checks are made where the limit is shown met."""
    rng = np.random.default_rng(seed)
    gaps, limit_ms = draw(rng, runs, plan.turns, misses)
    over = gaps > limit_ms
    ends, met, missed = stop_runs(plan, over)
    faults = np.zeros(runs, dtype=bool)
    for run in np.flatnonzero(met):
        faults[run] = find_fault(gaps[run, : ends[run]], over[run, : ends[run]]) != ""
    return Simulated(
        passed=float(np.mean(met & ~faults)),
        failed=float(np.mean(missed & ~met)),
        not_shown=float(np.mean(~met & ~missed)),
        invalid=float(np.mean(faults)),
        passed_but_for_checks=float(np.mean(met)),
        mean_turns=float(np.mean(ends)),
    )


def count_stretches_found(length: int, later_ms: float, turns: int, runs: int, seed: int) -> tuple[float, float]:
    """Return the shares of runs in which the drift test, and the test for stretches, find a slow stretch."""
    gaps, _ = draw_stretch(length, later_ms)(np.random.default_rng(seed), runs, turns, AT_BUDGET)
    drifts = found = 0
    for row in gaps:
        drift = stats.measure_drift(list(row), alpha=dependence.LEVEL, least=validity.LEAST_CHANGE)
        stretch = dependence.find_stretch(list(row))
        drifts += drift is not None and drift.drifting
        found += stretch is not None and stretch.p_value < dependence.LEVEL
    return drifts / runs, found / runs


def simulate_spoilt(plan: Plan, misses: float, runs: int, seed: int, *, rounds: int) -> float:
    """Return the share of runs that spoilt turns make INVALID, if they are called again `rounds` times.

    A run with all its turns: more than 2 % of them invalid, or a verdict that depends on them.
    """
    rng = np.random.default_rng(seed)
    over = rng.random((runs, plan.turns)) < misses
    spoilt = rng.random((runs, plan.turns)) < SPOILT ** (rounds + 1)
    n_spoilt, n_over = spoilt.sum(axis=1), (over & ~spoilt).sum(axis=1)
    allowed = plan.allowed_at_end(plan.turns)
    hanging = (n_over <= allowed) & (n_over + n_spoilt > allowed)
    return float(np.mean((n_spoilt > validity.MAX_INVALID_SHARE * plan.turns) | hanging))


def measure_coverage(plan: Plan, misses: float, runs: int, seed: int) -> float:
    """Return how often the interval of the share over the limit contains it, where runs stop by the plan."""
    over = np.random.default_rng(seed).random((runs, plan.turns)) < misses
    ends, _, _ = stop_runs(plan, over)
    counts = over.cumsum(axis=1)[np.arange(runs), ends - 1]
    known: dict[tuple[int, int], bool] = {}
    for events, n in {*zip(map(int, counts), map(int, ends), strict=True)}:
        low, high = stats.rate_interval(events, n)
        known[events, n] = low <= misses <= high
    return float(np.mean([known[int(events), int(n)] for events, n in zip(counts, ends, strict=True)]))


def find_largest_share(level: float, runs: int) -> float:
    """Return the largest simulated share that is compatible with a probability of `level`."""
    return level + LARGEST_SE * float(np.sqrt(level * (1 - level) / runs))
