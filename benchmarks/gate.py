"""Simulates the gate: false PASS, power, length and INVALID runs, for independent turns and for dependent ones.

    python -m benchmarks.gate [--runs 10000] [--seed 1] [--json]

Every run is planned, stopped and checked by the product's own functions: `stopping.plan_run` for the plan of a budget
with one limit, its boundaries for the decision after each turn, `validity.independence_checks` and
`stats.measure_drift` for what makes a run INVALID. Gaps: `benchmarks.gate_simulation`. Utterances, their order and
which share a last prompt are those of the scenario `gate`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from turngap.api import load_scenario
from turngap.scenario import Turn, plan_calls
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.plan import Plan

from benchmarks import promises
from benchmarks.gate_simulation import (
    AT_BUDGET,
    LARGEST_SE,
    Draw,
    Simulated,
    count_stretches_found,
    draw_correlated,
    draw_independent,
    draw_runs_of_misses,
    draw_same_tail,
    draw_threes,
    find_largest_share,
    measure_coverage,
    simulate,
    simulate_spoilt,
)
from benchmarks.promises import Promise, check_at_most, format_percent

BUDGET = Budget(name="simulated", limits=(Limit(metric="turn_gap_ms", at_most=500.0),))


def make_promises(results: Mapping[str, Simulated], plan: Plan, runs: int) -> list[Promise]:
    """Return what is promised of false PASS, power and length, with the figures."""
    good, limit = results["independent, 1 %"], find_largest_share(0.05, runs)
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
            holds=good.invalid <= find_largest_share(0.02, runs),
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
        share = measure_coverage(plan, misses, runs, seed)
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
