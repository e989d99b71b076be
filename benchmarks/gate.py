"""Simulates the gate: false PASS, power, length and INVALID runs, for independent turns and for dependent ones.

    python -m benchmarks.gate [--runs 10000] [--seed 1] [--json]

Every run is planned, stopped and checked by the product's own functions: `stopping.plan_run` for the plan of a budget
with one limit, its boundaries for the decision after each turn, `validity.independence_checks` and
`stats.measure_drift` for what makes a run INVALID. Gaps are log-normal (log-sd 0.15); the limit is at the quantile that
a given share of them misses. Utterances, their order and which share a last prompt are those of the scenario `gate`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import norm
from turngap.api import load_scenario
from turngap.scenario import Turn, plan_calls
from turngap.verdict import dependence, stats, stopping, validity
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.plan import Plan
from turngap.verdict.probabilities import chain

from benchmarks import promises
from benchmarks.promises import Promise, check_at_most, format_percent

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Draw = Callable[[np.random.Generator, int, int, float], tuple[Floats, float]]
"""(generator, runs, turns, share of misses) → gaps in ms, shape (runs, turns), and the limit in ms."""

AT_BUDGET = 0.05
LOG_SD = 0.15
MEDIAN_MS = 400.0
BUDGET = Budget(name="simulated", limits=(Limit(metric="turn_gap_ms", at_most=500.0),))
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


def stop(plan: Plan, over: Flags) -> tuple[npt.NDArray[np.int64], Flags, Flags]:
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
    ends, met, missed = stop(plan, over)
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


def cover(plan: Plan, misses: float, runs: int, seed: int) -> float:
    """Return how often the interval of the share over the limit contains it, where runs stop by the plan."""
    over = np.random.default_rng(seed).random((runs, plan.turns)) < misses
    ends, _, _ = stop(plan, over)
    counts = over.cumsum(axis=1)[np.arange(runs), ends - 1]
    known: dict[tuple[int, int], bool] = {}
    for events, n in {*zip(map(int, counts), map(int, ends), strict=True)}:
        low, high = stats.rate_interval(events, n)
        known[events, n] = low <= misses <= high
    return float(np.mean([known[int(events), int(n)] for events, n in zip(counts, ends, strict=True)]))


def most(level: float, runs: int) -> float:
    """Return the largest simulated share that is compatible with a probability of `level`."""
    return level + LARGEST_SE * float(np.sqrt(level * (1 - level) / runs))


def make_promises(results: Mapping[str, Simulated], plan: Plan, runs: int) -> list[Promise]:
    """Return what is promised of false PASS, power and length, with the figures."""
    good, limit = results["independent, 1 %"], most(0.05, runs)
    rows = [
        Promise(
            "exact false PASS at the budget ≤ 5 %",
            format_percent(plan.power(AT_BUDGET), 2),
            None,
            holds=plan.power(AT_BUDGET) <= 0.05,
        ),
        Promise(
            "exact power at 1 % misses ≥ 95 %",
            format_percent(plan.power(0.01), 2),
            None,
            holds=plan.power(0.01) >= 0.95,
        ),
        Promise(
            "exact mean calls at 1 % ≤ 130",
            f"{plan.expected_turns(0.01):.1f}",
            None,
            holds=plan.expected_turns(0.01) <= 130,
        ),
        check_at_most("simulated mean calls at 1 % misses", good.mean_turns, 130, "calls", 1),
        Promise(
            "simulated power at 1 %, without INVALID runs, ≥ 95 %",
            format_percent(good.passed_but_for_checks, 2),
            None,
            holds=good.passed_but_for_checks >= 0.95 - LARGEST_SE * 0.0022,
        ),
        Promise(
            "INVALID by the checks of independence and drift, at 1 %, ≤ 2 %",
            format_percent(good.invalid, 2),
            None,
            holds=good.invalid <= most(0.02, runs),
        ),
    ]
    for name, simulated in results.items():
        if name.startswith("at the budget"):
            rows.append(
                Promise(
                    f"false PASS, {name}: ≤ 5 %",
                    format_percent(simulated.passed, 2),
                    simulated.passed,
                    holds=simulated.passed <= limit,
                )
            )
        elif name.startswith("assumed away"):
            rows.append(
                Promise(
                    f"false PASS, {name} (the verdict says so)",
                    format_percent(simulated.passed, 2),
                    simulated.passed,
                    holds=None,
                )
            )
    return rows


def main() -> int:
    """Print the tables; return 1 if a promise does not hold."""
    parser = promises.make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs, seed = options.runs, options.seed
    tails = [find_tail(turn) for call in plan_calls(load_scenario("gate")) for turn in call.scored_turns]
    plan, robust = (make_plan(len(tails), bursts) for bursts in (1, 3))
    at = "at the budget, "
    cases: list[tuple[str, Draw, Plan, float]] = [
        *((f"independent, {100 * p:g} %", draw_independent, plan, p) for p in (0.002, 0.01, 0.02, 0.1)),
        (f"{at}independent", draw_independent, plan, AT_BUDGET),
        (f"{at}same tail", draw_same_tail(tails), plan, AT_BUDGET),
        *(
            (f"{at}latencies correlated {rho:g}", draw_correlated(rho), plan, AT_BUDGET)
            for rho in (0.1, 0.2, 0.3, 0.5, 0.8)
        ),
        ("assumed away, runs of mean 2", draw_runs_of_misses(2), plan, AT_BUDGET),
        ("assumed away, runs of mean 3", draw_runs_of_misses(3), plan, AT_BUDGET),
        ("assumed away, bursts of three", draw_threes, plan, AT_BUDGET),
        (f"{at}runs of mean 2, bursts: 3", draw_runs_of_misses(2), robust, AT_BUDGET),
        (f"{at}runs of mean 3, bursts: 3", draw_runs_of_misses(3), robust, AT_BUDGET),
        (f"{at}bursts of three, bursts: 3", draw_threes, robust, AT_BUDGET),
    ]
    results = {}
    for name, draw, used, misses in cases:
        promises.print_progress(f"{name} ...")
        results[name] = simulate(draw, used, misses, runs, seed)
    promises.print_table(
        f"{runs} runs of up to {plan.turns} turns; pass from {plan.pass_from} turns with 0, 1, ... over",
        ("agent", "PASS", "FAIL", "NOT SHOWN", "INVALID, not PASS", "mean calls"),
        [
            (
                name,
                *(format_percent(share) for share in (one.passed, one.failed, one.not_shown, one.invalid)),
                f"{one.mean_turns:.0f}",
            )
            for name, one in results.items()
        ],
        as_json=options.json,
    )
    drifts, found = count_stretches_found(28, 300.0, 190, runs // 10, seed)
    rows = make_promises(results, plan, runs)
    rows += [
        Promise(
            "28 of 190 turns in a row +300 ms: found by the test for stretches ≥ 99 %",
            format_percent(found),
            found,
            holds=found >= 0.99,
        ),
        Promise("the same, found by the drift test alone", format_percent(drifts), drifts, holds=None),
        Promise(
            "exact false FAIL at the budget ≤ 5 %",
            format_percent(plan.course(AT_BUDGET).fails, 2),
            None,
            holds=plan.course(AT_BUDGET).fails <= 0.05,
        ),
    ]
    for misses in (0.002, 0.01):
        once, again = (simulate_spoilt(plan, misses, runs, seed, rounds=rounds) for rounds in (0, 2))
        name = f"INVALID because of spoilt turns (1.6 % of them, {100 * misses:g} % misses)"
        rows.append(Promise(f"{name}, never called again", format_percent(once), once, holds=None))
        rows.append(check_at_most(f"{name}, called again twice", 100 * again, 1.0, "%", 2))
    for misses in (0.002, 0.01, 0.05, 0.1):
        share = cover(plan, misses, runs, seed)
        rows.append(
            Promise(
                f"95 % interval of the share over the limit contains it, {100 * misses:g} % misses",
                format_percent(share),
                share,
                holds=None,
            )
        )
    details = {"turns": plan.turns, "pass_from": plan.pass_from, "robust": robust.pass_from, "runs": runs, "seed": seed}
    return promises.print_result("The gate", rows, details, as_json=options.json)


def find_tail(turn: Turn) -> str:
    """Return the last prompt of an utterance, or what names an utterance that is made of no prompts."""
    return turn.key if turn.prompt is None or isinstance(turn.prompt, str) else turn.prompt[-1]


def make_plan(turns: int, bursts: int = 1) -> Plan:
    """Return the plan of the budget's one limit for a run of so many turns."""
    budget = BUDGET.model_copy(update={"bursts": bursts})
    found = stopping.find_plan(stopping.plan_run(budget, turns), budget.limits[0])
    assert found is not None
    return found


if __name__ == "__main__":
    sys.exit(promises.run_main(main))
