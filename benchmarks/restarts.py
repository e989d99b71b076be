"""Measures whether restarts of one agent are ever "slower" than one another.

    python -m benchmarks.restarts [--profile cpu] [--runs 10] [--out results/restarts] [--json]     about 30 minutes
    python -m benchmarks.restarts --read results/restarts [--json]                                  reads finished runs

Runs one scenario so many times, each with an agent that is started anew, and compares each run with each other. Turns
inside a run can't show what a restart changes (where processes lie in memory, which core they are on): that is the
offset between runs, printed as the standard deviation of their median gaps beside what the turns alone explain.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import turngap
from turngap.api import RunComparison
from turngap.store import folder as store
from turngap.verdict.comparison import Change
from turngap.verdict.comparison.pairs import match_turns

from benchmarks.promises import (
    UNUSABLE,
    Promise,
    format_number,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)
from benchmarks.sweeps import run_scenario


def compare_all(runs: Sequence[turngap.Run]) -> list[RunComparison]:
    """Return the comparison of each run with each earlier one."""
    return [turngap.compare(head, base) for base, head in itertools.combinations(runs, 2)]


def offset_sd_ms(runs: Sequence[turngap.Run]) -> tuple[float, float]:
    """Return the sd of the runs' offsets, and the sd that the turns' own scatter explains; ms.

    The offset of a run is the mean of its turns' gaps minus those of the same utterances over all runs, of utterances
    that all runs answered.
    """
    gaps = [
        {turn.utterance_id: turn.turn_gap_ms for turn in run.turn_records if turn.is_valid and turn.is_good}
        for run in runs
    ]
    common = [key for key in gaps[0] if all(run.get(key) is not None for run in gaps)]
    table = np.asarray([[run[key] for key in common] for run in gaps], np.float64)
    if len(common) < 2:
        return math.nan, math.nan
    left = table - table.mean(axis=0)
    offsets = left.mean(axis=1)
    within = (left - offsets[:, None]).std(ddof=1) / math.sqrt(len(common))
    return float(offsets.std(ddof=1)), float(within)


def main() -> int:
    """Print each pair; return 1 if one of them has a finding."""
    parser = make_parser(__doc__)
    parser.add_argument("--profile", default="cpu", help="the agent's profile: a name or a .yaml file")
    parser.add_argument("--scenario", default="default", help="a name or a .yaml file")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--turns", type=int, help="turns of a run (default: the whole scenario)")
    parser.add_argument("--out", type=Path, default=Path("results/restarts"), help="folder for new runs")
    parser.add_argument("--read", type=Path, help="read the runs in this folder instead of making new ones")
    options = parser.parse_args()
    if options.read is None:
        for number in range(options.runs):
            print_progress(f"run {number + 1} of {options.runs}")
            run_scenario(options.scenario, profile=options.profile, sets=(), out=options.out, turns=options.turns)
    folders = sorted(file.parent for file in (options.read or options.out).glob(f"[!.]*/{store.RUN}"))
    runs = [run for run in map(turngap.load, folders) if run.record.complete]
    if len(runs) < 2:
        print_progress(f"{options.read or options.out}: there are no two finished runs to compare")
        return UNUSABLE
    comparisons = compare_all(runs)
    print_table(
        "runs",
        ("run", "verdict", "turns", "median", "p95"),
        [
            [
                run.id,
                run.verdict.value,
                str(run.record.n_turns),
                format_number(run.record.turn_gap_ms.p50, digits=1),
                format_number(run.record.turn_gap_ms.p95, digits=1),
            ]
            for run in runs
        ],
        as_json=options.json,
    )
    rows = [[one.base, one.head, one.change.value, _stages(one), _describe(one)] for one in comparisons]
    print_table("each with each", ("base", "head", "finding", "stages", ""), rows, as_json=options.json)
    findings = [one for one in comparisons if one.change.is_worse or one.change.is_better]
    offset_ms, within_ms = offset_sd_ms(runs)
    medians = [abs(one.rows[0].found.median_change_ms or 0.0) for one in comparisons]
    stages = [row for one in comparisons for row in one.rows if row.stage is not None and row.found.change.is_worse]
    promises = [
        Promise(
            f"none of {len(comparisons)} comparisons finds a change", f"{len(findings)} do", len(findings), not findings
        ),
        Promise("largest change of the median gap", format_number(max(medians), digits=1), max(medians), None),
        Promise("offset between runs, sd", format_number(offset_ms, digits=1), offset_ms, None),
        Promise("of which the scatter of the turns explains", format_number(within_ms, digits=1), within_ms, None),
        Promise("stages found slower", str(len(stages)), len(stages), None),
        Promise(
            "pairs of turns in a comparison, at least",
            str(min(len(match_turns(b.turn_records, a.turn_records).head) for a, b in itertools.combinations(runs, 2))),
            None,
            None,
        ),
    ]
    counts = {change.value: sum(one.change is change for one in comparisons) for change in Change}
    details = {"counts": counts, "comparisons": [one.to_json() for one in comparisons]}
    return print_result("restarts of one agent", promises, details, as_json=options.json)


def _describe(comparison: RunComparison) -> str:
    """Return the sentence of a finding; otherwise the change of the median."""
    change = comparison.change
    return comparison.sentence if change.is_worse or change.is_better else comparison.measures[0].sentence


def _stages(comparison: RunComparison) -> str:
    """Return the stages with a finding."""
    changes = [row for row in comparison.rows if row.stage is not None]
    found = [row for row in changes if row.found.change.is_worse or row.found.change.is_better]
    return ", ".join(f"{row.stage} {row.found.median_change_ms or 0.0:+.1f}" for row in found)


if __name__ == "__main__":
    sys.exit(run_main(main))
