"""Simulates how often `turngap compare` finds a change that is there, and one that is not.

    python -m benchmarks.comparisons [--trials 1000] [--unchanged 3000] [--json]

Gaps are log-normal over utterances (median 450 ms, p95 531 ms), with 25 ms (sd) between two turns of one utterance. The
head may have a tail: a share of its turns is 300 ms later, or not answered. Outcomes and words are drawn beside. The
functions are those of `turngap compare`, from arrays of turns on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from turngap.verdict.comparison.findings import Change, MeasureChange, combine
from turngap.verdict.comparison.measures import Sample, compare_samples
from turngap.verdict.stats import Floats

from benchmarks.promises import (
    Promise,
    format_percent,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)

MEDIAN_MS, P95_MS, WITHIN_SD_MS = 450.0, 531.0, 25.0
LATER_MS = 300.0
WORDS = 7
WORD_ERRORS = 0.03
PAIRS = 190
BAD = ("missed", "cut_off", "wrong")


@dataclass(frozen=True, slots=True)
class World:
    """What two runs have in common, and what only the head has."""

    n: int = PAIRS
    paired: bool = True
    bad: float = 0.0
    """Share of turns with a bad outcome, in both runs."""
    slower: float = 0.0
    """Share of the head's turns that are 300 ms later ..."""
    unanswered: float = 0.0
    """... and that are not answered."""
    factor: float = 1.0
    """Of all of the head's gaps."""
    restart_sd_ms: float = 0.0
    """Of an offset that each run has for itself."""
    filler: bool = False
    """The time to substance is another than the turn gap."""
    limit_ms: float | None = None
    """Of a budget."""


def draw_run(world: World, between_ms: Floats, rng: np.random.Generator, *, is_head: bool) -> Sample:
    """Return one run: a turn for each of the utterances, whose own gaps are `between_ms`."""
    n = world.n
    gaps = between_ms + rng.normal(0.0, WITHIN_SD_MS, n) + rng.normal(0.0, world.restart_sd_ms)
    outcomes = np.full(n, "answered", dtype="<U12")
    bad = rng.random(n) < world.bad
    outcomes[bad] = rng.choice(BAD, int(bad.sum()))
    if is_head:
        gaps = gaps * world.factor + LATER_MS * (rng.random(n) < world.slower)
        outcomes[rng.random(n) < world.unanswered] = "missed"
    substance = gaps + (rng.random(n) < 0.3) * rng.normal(600.0, 100.0, n) if world.filler else gaps
    unanswered = outcomes != "answered"
    gaps, substance = (np.where(unanswered, np.inf, times) for times in (gaps, substance))
    errors = np.where(outcomes == "missed", np.nan, rng.binomial(WORDS, WORD_ERRORS, n))
    return Sample(gaps, substance, gaps, outcomes, errors, np.full(n, float(WORDS)))


def draw_between_ms(n: int, rng: np.random.Generator) -> Floats:
    """Return gaps of n utterances, so that single turns have about `MEDIAN_MS` and `P95_MS`."""
    log_sd = np.log(P95_MS / MEDIAN_MS) / 1.645
    within = WITHIN_SD_MS / MEDIAN_MS
    return MEDIAN_MS * rng.lognormal(0.0, np.sqrt(log_sd**2 - within**2), n)


def compare_once(world: World, rng: np.random.Generator) -> tuple[MeasureChange, ...]:
    """Return the comparison of one head with one base."""
    between = draw_between_ms(world.n, rng)
    base = draw_run(world, between, rng, is_head=False)
    head = draw_run(world, between if world.paired else draw_between_ms(world.n, rng), rng, is_head=True)
    return compare_samples(head, base, paired=world.paired, limit_ms=world.limit_ms)


def repeat(world: World, trials: int, seed: int) -> list[tuple[MeasureChange, ...]]:
    """Return so many comparisons."""
    return [compare_once(world, np.random.default_rng((seed, trial))) for trial in range(trials)]


@dataclass(frozen=True, slots=True)
class Shares:
    """What so many comparisons found."""

    found: float
    """Share of comparisons with a finding in any measure, better or worse ..."""
    worse: float
    """... and with one that is worse."""
    better: float
    """Share of comparisons whose finding is "faster" or "better"."""
    same: float
    ambiguous: float
    measures: dict[str, float]
    """By measure, the share of comparisons in which it was worse."""


def count(comparisons: Sequence[Sequence[MeasureChange]]) -> Shares:
    """Return the shares."""
    changes = [combine(measures) for measures in comparisons]
    rows = [measure for measures in comparisons for measure in measures]
    names = dict.fromkeys(row.name for row in rows if row.change.is_worse)
    n = len(comparisons)
    return Shares(
        found=sum(any(row.change.is_worse or row.change.is_better for row in one) for one in comparisons) / n,
        worse=sum(change.is_worse for change in changes) / n,
        better=sum(change.is_better for change in changes) / n,
        same=changes.count(Change.SAME) / n,
        ambiguous=changes.count(Change.AMBIGUOUS) / n,
        measures={name: sum(row.name == name and row.change.is_worse for row in rows) / n for name in names},
    )


COMMON = World(bad=0.02)
NOTHING_CHANGED = {
    "190 pairs": COMMON,
    "190 pairs, no bad outcome": World(),
    "190 pairs, 5 % bad outcomes": World(bad=0.05),
    "190 pairs, 3 of 10 answers behind a filler": replace(COMMON, filler=True),
    "190 pairs, a limit at 500 ms": replace(COMMON, limit_ms=500.0),
    "190 pairs, runs 5 ms (sd) apart": replace(COMMON, restart_sd_ms=5.0),
    "30 pairs": replace(COMMON, n=30),
    "190 and 190 turns, two samples": replace(COMMON, paired=False),
}
"""2 % bad outcomes in either run, unless it says otherwise."""
BROKEN = {
    "a quarter + 300 ms": replace(COMMON, slower=0.25),
    "two fifths + 300 ms": replace(COMMON, slower=0.4),
    "three tenths unanswered": replace(COMMON, unanswered=0.3),
}
CHANGED = {
    **{f"{100 * share:.0f} % + 300 ms": replace(COMMON, slower=share) for share in (0.05, 0.08, 0.1, 0.12, 0.15)},
    **{f"{100 * share:.0f} % unanswered": replace(COMMON, unanswered=share) for share in (0.02, 0.03, 0.05, 0.08, 0.1)},
    "3 % unanswered, no other bad outcome": World(unanswered=0.03),
    "all + 8 %": replace(COMMON, factor=1.08),
    "all + 10 %": replace(COMMON, factor=1.1),
    "all - 10 %": replace(COMMON, factor=0.9),
    "all - 10 %, 4 % unanswered": replace(COMMON, factor=0.9, unanswered=0.04),
    "30 pairs: all + 10 %": replace(COMMON, n=30, factor=1.1),
    "30 pairs: two fifths + 300 ms": replace(COMMON, n=30, slower=0.4),
    "30 pairs: three tenths unanswered": replace(COMMON, n=30, unanswered=0.3),
    "two samples: 10 % + 300 ms": replace(COMMON, paired=False, slower=0.1),
    "two samples: a quarter + 300 ms": replace(COMMON, paired=False, slower=0.25),
}
MOST_FALSE, LEAST_FOUND = 0.01, 0.8
MOST_HIDDEN = 0.15
"""Share of comparisons with newly unanswered turns that may still say "same", or "faster"."""
HIDDEN = {
    "3 % unanswered": ("same", "3 % newly unanswered"),
    "3 % unanswered, no other bad outcome": ("same", "3 % newly unanswered, no other bad outcome"),
    "all - 10 %, 4 % unanswered": ("better", "10 % faster with 4 % newly unanswered"),
}


def main() -> int:
    """Print the shares; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="comparisons of each row in which something changed")
    parser.add_argument("--unchanged", type=int, default=3000, help="comparisons of each row in which nothing did")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    trials = {"nothing changed": options.unchanged, "broken": options.trials, "changed": options.trials}
    shares: dict[str, dict[str, Shares]] = {}
    for kind, worlds in (("nothing changed", NOTHING_CHANGED), ("broken", BROKEN), ("changed", CHANGED)):
        shares[kind] = {}
        for name, world in worlds.items():
            print_progress(f"{kind}: {name}")
            shares[kind][name] = count(repeat(world, trials[kind], options.seed))
    unchanged = shares["nothing changed"]
    promises = [
        *(_promise_quiet(name, row.found, options.unchanged) for name, row in unchanged.items()),
        *(_promise_found(name, row.worse) for name, row in shares["broken"].items()),
        Promise(
            '"same" is reached with 2 % of bad outcomes',
            format_percent(unchanged["190 pairs"].same),
            unchanged["190 pairs"].same,
            holds=unchanged["190 pairs"].same > 0.5,
        ),
        *(_promise_not_hidden(shares["changed"][row], found, name) for row, (found, name) in HIDDEN.items()),
    ]
    for kind, rows in shares.items():
        table = [
            [name, *map(format_percent, (row.worse, row.better, row.found, row.same, row.ambiguous)), _leading(row)]
            for name, row in rows.items()
        ]
        columns = (kind, "worse", "better", "any finding", "same", "ambiguous", "worse by measure")
        print_table(f"{trials[kind]} comparisons a row", columns, table, as_json=options.json)
    details = {
        "trials": trials,
        "shares": {kind: {n: asdict(r) for n, r in rows.items()} for kind, rows in shares.items()},
    }
    return print_result("one run against another", promises, details, as_json=options.json)


def _promise_quiet(name: str, found: float, trials: int) -> Promise:
    return Promise(
        f"{name}: at most 1 % of {trials} find a change that is none",
        format_percent(found),
        found,
        holds=found <= MOST_FALSE,
    )


def _promise_found(name: str, worse: float) -> Promise:
    return Promise(f"{name}: at least 80 % are found", format_percent(worse), worse, holds=worse >= LEAST_FOUND)


def _promise_not_hidden(row: Shares, found: str, name: str) -> Promise:
    share = row.same if found == "same" else row.better
    text = f'{name}: at most {MOST_HIDDEN:.0%} are "{found}"'
    return Promise(text, format_percent(share), share, holds=share <= MOST_HIDDEN)


def _leading(row: Shares) -> str:
    """Return the three measures that are worse most often."""
    first = sorted(row.measures.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name.removesuffix('_ms')} {format_percent(share)}" for name, share in first)


if __name__ == "__main__":
    sys.exit(run_main(main))
