"""Simulates the gate with a whole budget: PASS, length, and false PASS where one of its limits is exactly at its edge.

    python -m benchmarks.whole_gate [--runs 10000] [--seed 1] [--json]

Turns, pauses and words are those of the scenario `gate` in its order. The plan is `stopping.plan_run`'s; counts are
decided turn by turn at its boundaries, word errors by `is_wer_within` at its looks, as `sequential.decide_early` does;
a test lets both decide the same runs. Turns are independent. `late` turns are over both limits on latencies, and so are
turns that are cut off. In the rows "with misses", one in five of the turns with word errors is late as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from turngap.api import load_scenario
from turngap.model.stopping import StoppingPlan
from turngap.scenario import plan_calls
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Limit, Metric, load_budget
from turngap.verdict.planned import PlannedTurn, find_own, list_planned
from turngap.verdict.word_errors import is_wer_within, wer_lower

from benchmarks import promises
from benchmarks.gate_simulation import find_largest_share
from benchmarks.promises import Promise, check_at_most, format_percent

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
NEVER = 10**6
WORDS_TOO = 0.2
"""Share of the turns with word errors that are late too, in the rows "with misses"."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What happens in the turns of some runs; each array has the shape (runs, turns)."""

    late: Flags
    cut: Flags
    underrun: Flags
    errors: Ints
    words: Ints

    def over(self, limit: Limit) -> Flags:
        """Return which turns are over a limit on a latency or a rate."""
        if limit.metric in (Metric.CUT_OFF, Metric.PAUSE_CUT_OFF):
            return self.cut
        return self.underrun if limit.metric == Metric.UNDERRUN else self.late | self.cut


@dataclass(frozen=True, slots=True)
class Ended:
    """How runs ended."""

    passed: Flags
    failed: Flags
    turns: Ints


Draw = Callable[[np.random.Generator, int, list[PlannedTurn]], Drawn]


def draw_rates(late: float = 0.0, cut: float = 0.0, pause_cut: float = 0.0, underrun: float = 0.0) -> Draw:
    """Independent turns without word errors; `pause_cut` adds cut-offs in pause turns only."""

    def draw(rng: np.random.Generator, runs: int, planned: list[PlannedTurn]) -> Drawn:
        shape = (runs, len(planned))
        pauses = np.array([turn.pauses for turn in planned])
        cuts = (rng.random(shape) < cut) | ((rng.random(shape) < pause_cut) & pauses)
        lates, underruns = rng.random(shape) < late, rng.random(shape) < underrun
        words = np.tile(np.array([turn.words for turn in planned], np.int64), (runs, 1))
        return Drawn(lates, cuts, underruns, np.zeros(shape, np.int64), words)

    return draw


def draw_words(kind: str, rate: float, late: float = 0.0, with_misses: float = 0.0) -> Draw:
    """Word errors: `whole` utterances, `long` ones (8 words and more, in random order), `scattered` or `clustered`."""

    def draw(rng: np.random.Generator, runs: int, planned: list[PlannedTurn]) -> Drawn:
        base = draw_rates(late)(rng, runs, planned)
        words = rng.permuted(base.words, axis=1) if kind == "long" else base.words
        if kind in ("whole", "long"):
            long = words >= 8 if kind == "long" else words > 0
            share = rate * words.sum() / words[long].sum()
            errors = np.where((rng.random(words.shape) < share) & long, words, 0)
        else:
            concentration = {"scattered": 50, "clustered": 2}[kind]
            rates = rng.beta(rate * concentration, (1 - rate) * concentration, words.shape)
            errors = rng.binomial(words, rates)
        lates = base.late | ((errors > 0) & (rng.random(words.shape) < with_misses))
        return Drawn(lates, base.cut, base.underrun, np.asarray(errors, np.int64), words)

    return draw


def end_runs(budget: Budget, plan: StoppingPlan, planned: list[PlannedTurn], drawn: Drawn) -> Ended:
    """Return how each run ends by the plan."""
    runs, turns = drawn.late.shape
    shown = np.zeros(runs, np.int64)
    failed, out = np.full(runs, NEVER), np.full(runs, NEVER)
    for limit in budget.limits:
        own = stopping.find_plan(plan, limit)
        if own is None:
            continue
        places = np.array(find_own(limit, planned))
        misses = drawn.over(limit)[:, places - 1].cumsum(axis=1)
        numbers = range(1, len(places) + 1)
        least = np.array([min((m for m, within in own.fail_within if n <= within), default=NEVER) for n in numbers])
        within = _first(misses <= np.array([own.allowed(n) for n in numbers]), places)
        over, hopeless = _first(misses >= least, places), _first(misses >= own.last_miss, places)
        shown = np.maximum(shown, np.where(within <= over, within, NEVER))
        failed = np.minimum(failed, np.where(over < within, over, NEVER))
        out = np.minimum(out, np.where(hopeless < within, hopeless, NEVER))
    passed_at = np.where((failed == NEVER) & (out == NEVER), shown, NEVER)
    for limit in budget.limits:
        if limit.metric == Metric.WER:
            for run in np.flatnonzero(passed_at < NEVER):
                at, is_over = _look(limit, plan, drawn.errors[run], drawn.words[run], int(passed_at[run]), budget)
                passed_at[run] = NEVER if is_over else at
                failed[run] = at if is_over else failed[run]
    end = np.minimum(np.minimum(passed_at, np.minimum(failed, out)), turns)
    return Ended(passed_at <= turns, (failed == end) & (passed_at > turns), end)


def _look(
    limit: Limit, plan: StoppingPlan, errors: Ints, words: Ints, counts_at: int, budget: Budget
) -> tuple[int, bool]:
    """Return by which turn word errors and counts decide the run, `NEVER` if not, and whether the limit is missed."""
    level = 1 - limit.confidence
    for look, share in zip(plan.looks, plan.shares, strict=True):
        seen, known = errors[:look].tolist(), words[:look].tolist()
        if is_wer_within(seen, known, limit.at_most, 1 - share * level):
            return max(look, counts_at), False
        over = sum(seen) > limit.at_most * sum(known)
        if over and wer_lower(seen, known, 1 - share * level / len(budget.limits)) > limit.at_most:
            return max(look, counts_at), True
    return NEVER, False


def _first(flags: Flags, places: Ints) -> Ints:
    """Return at which turn each row is first true; `NEVER` where it is not."""
    return np.where(flags.any(axis=1), places[flags.argmax(axis=1)], NEVER)


def list_good() -> dict[str, Draw]:
    """Return agents that ought to pass."""
    return {
        "0.2 % late": draw_rates(late=0.002),
        "1 % late": draw_rates(late=0.01),
        "1 % cut off": draw_rates(cut=0.01),
        "1 % late, 1 % of words in clusters wrong": draw_words("clustered", 0.01, late=0.01),
        "1 % late, 2 % of words wrong": draw_words("scattered", 0.02, late=0.01),
        "5 % late": draw_rates(late=0.05),
        "10 % late": draw_rates(late=0.1),
    }


def list_edges(budget: Budget) -> dict[str, Draw]:
    """Return agents that are exactly at one limit of the budget, and without fault otherwise."""
    metrics = {limit.metric for limit in budget.limits}
    edges = {"late": draw_rates(late=0.05), "cut off": draw_rates(cut=0.05), "underruns": draw_rates(underrun=0.05)}
    if Metric.PAUSE_CUT_OFF in metrics:
        edges["cut off in pauses"] = draw_rates(pause_cut=0.1)
    if Metric.WER in metrics:
        for kind in ("whole", "long", "scattered", "clustered"):
            edges[f"{kind} word errors"] = draw_words(kind, 0.05)
            edges[f"{kind} word errors with misses"] = draw_words(kind, 0.05, with_misses=WORDS_TOO)
    return edges


def main() -> int:
    """Print the tables; return 1 if a promise does not hold."""
    parser = promises.make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    planned = list(list_planned(plan_calls(load_scenario("gate"))))
    rows: list[Promise] = []
    for name in ("sub500", "edge500-audio"):
        budget = load_budget(name)
        plan = stopping.plan_run(budget, planned)
        assert plan is not None
        table = []
        for group, draws in (("", list_good()), ("at the edge: ", list_edges(budget))):
            for agent, draw in draws.items():
                promises.print_progress(f"{name}: {agent} ...")
                rng = np.random.default_rng(options.seed)
                ended = end_runs(budget, plan, planned, draw(rng, options.runs, planned))
                passed, mean = float(ended.passed.mean()), float(ended.turns.mean())
                table.append(
                    (
                        group + agent,
                        format_percent(passed, 2),
                        format_percent(float(ended.failed.mean())),
                        f"{mean:.0f}",
                    )
                )
                rows += _promise(f"{name}, {group}{agent}", passed, mean, options.runs)
        pauses = sum(turn.pauses for turn in planned)
        promises.print_table(
            f"{name}: {options.runs} runs of up to {plan.turns} turns, {pauses} with pauses; looks {plan.looks}",
            ("agent", "PASS", "FAIL", "mean calls"),
            table,
            as_json=options.json,
        )
    details = {"runs": options.runs, "seed": options.seed}
    return promises.print_result("The gate with whole budgets", rows, details, as_json=options.json)


def _promise(name: str, passed: float, mean: float, runs: int) -> list[Promise]:
    if "at the edge" in name:
        return [
            Promise(
                f"{name}: false PASS ≤ 5 %",
                format_percent(passed, 2),
                passed,
                holds=passed <= find_largest_share(0.05, runs),
            )
        ]
    if not name.endswith(", 1 % late"):
        return []
    least = 0.95 - (find_largest_share(0.05, runs) - 0.05)
    power = Promise(f"{name}: PASS ≥ 95 %", format_percent(passed, 2), passed, holds=passed >= least)
    return [power, check_at_most(f"{name}: mean calls", mean, 130, "calls", 1)]


if __name__ == "__main__":
    sys.exit(promises.run_main(main))
