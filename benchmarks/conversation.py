"""Measures whether the agent yields to barge-ins, continues after backchannels, and stays silent when nobody speaks.

    python -m benchmarks.conversation [--set section.key=value ...] [--json]                     about 15 minutes
    python -m benchmarks.conversation --scenario noise --scenario conversation ...           these instead of the four
    python -m benchmarks.conversation --run results/BARGE-IN --run results/QUIET ...             reads finished runs

Runs the scenarios `barge-in` (60 barge-ins, 20 backchannels), `barge-in-echo` (24 and 8), `two-calls` (24 turns, two
callers at a time) and `quiet` (17 turns), one after the other, with one policy. 60 barge-ins give a bound on p95: a
limit holds with 95 % confidence if none of 59 is slower, or at most one of 93.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from turngap.model.figures import ConversationFigures
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.verdict.summary import valid_turns

from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    format_percent,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)
from benchmarks.sweeps import is_valid, run_scenario

SCENARIOS = ("barge-in", "barge-in-echo", "two-calls", "quiet")
"""The scenarios with promises."""
STOP_MS, WENT_ON_MS, CLAUSE_GAP_MS = 250.0, 600.0, 250.0
LOST_MS = 40.0
"""Two frames: shorter than a syllable."""


def promises(run: StoredRun) -> list[Promise]:
    """Return the promises of the run's scenario with its figures."""
    record, talk = run.record, run.record.conversation
    name = record.scenario
    rows = [Promise(f"{name}: complete and not INVALID", record.verdict, None, holds=is_valid(run))]
    if talk is None:
        return rows
    if talk.barge_in_stop_ms.n:
        stop = talk.barge_in_stop_ms
        rows += [
            check_at_most(
                f"{name}: the agent yields within {STOP_MS:.0f} ms (p95 of {stop.n})", stop.p95, STOP_MS, digits=0
            ),
            Promise(
                f"{name}: that p95 at most, at 95 % confidence",
                format_number(stop.p95_upper),
                stop.p95_upper,
                holds=None,
            ),
        ]
    backchannels = [turn for turn in valid_turns(run.turns) if turn.is_backchannel]
    if backchannels:
        slowest = talk.went_on_ms.max
        rows += [
            check_at_most(
                f"{name}: after a backchannel it continues within {WENT_ON_MS:.0f} ms (p95 of {len(backchannels)})",
                talk.went_on_ms.p95,
                WENT_ON_MS,
                digits=0,
            ),
            Promise(f"{name}: the slowest of them", format_number(slowest), slowest, holds=None),
            _promise_none(f"{name}: sentences ended by a backchannel", talk, "false_stop_rate"),
            check_at_most(
                f"{name}: nothing lost or repeated (maximum of any sentence, ms)",
                max(max(turn.lost_ms or 0.0, turn.repeated_ms or 0.0) for turn in backchannels),
                LOST_MS,
                digits=0,
            ),
        ]
    if name == "quiet":
        rows.append(_promise_none(f"{name}: turns answered although nobody spoke", talk, "intruded_rate"))
    if talk.clause_gap_ms is not None and (gaps := talk.clause_gap_ms).n:
        whole = f"{name}: gaps between clauses <= {CLAUSE_GAP_MS:.0f} ms (the longest of {gaps.n} replies)"
        rows.append(check_at_most(whole, gaps.max, CLAUSE_GAP_MS, digits=0))
    if record.simultaneous_calls > 1:
        lag = record.agent.loop_lag_p99_ms
        rows.append(
            Promise(f"{name}: the agent's event loop is late by (p99)", format_number(lag, digits=1), lag, holds=None)
        )
    dry = record.underrun_rate
    if dry.n:
        rows.append(
            Promise(f"{name}: no underrun inside a reply", f"{dry.events} of {dry.n}", dry.events, holds=not dry.events)
        )
    return rows


def noise(talk: ConversationFigures) -> list[tuple[str, ...]]:
    """Return a row for each condition: word error rates, and those of its clean twins."""
    return [
        (
            name,
            str(talk.wer[name].turns),
            format_percent(talk.wer[name].wer),
            format_percent(talk.wer[name].upper),
            format_percent(talk.twins[name].clean if name in talk.twins else None),
        )
        for name in talk.wer
    ]


def main() -> int:
    """Print the tables; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--run", type=Path, action="append", default=[], help="read this finished run; repeatable")
    parser.add_argument(
        "--scenario", action="append", default=[], help="run this one; repeatable (default: the four with promises)"
    )
    parser.add_argument("--set", action="append", default=[], help="change the profile: section.key=value")
    parser.add_argument("--profile", default="cpu", help="the agent's profile: a name or a .yaml file")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for new runs")
    options = parser.parse_args()
    runs = [store.read_run(path) for path in options.run] or _run_scenarios(
        options.scenario or SCENARIOS, options.profile, options.set, options.out
    )
    for run in runs:
        talk = run.record.conversation
        if talk is not None and len(talk.wer) > 1:
            columns = ("condition", "turns", "WER", "at most", "clean twins")
            print_table(f"{run.record.scenario}: words understood", columns, noise(talk), as_json=options.json)
    rows = [promise for run in runs for promise in promises(run)]
    return print_result("conversation", rows, {"runs": [run.record.run_id for run in runs]}, as_json=options.json)


def _run_scenarios(scenarios: Sequence[str], profile: str, sets: Sequence[str], out: Path) -> list[StoredRun]:
    runs = []
    for scenario in scenarios:
        print_progress(f"scenario {scenario}")
        runs.append(run_scenario(scenario, profile=profile, sets=sets, out=out))
    return runs


def _promise_none(promise: str, talk: ConversationFigures, metric: str) -> Promise:
    rate = talk.rates[metric]
    text = f"{rate.events} of {rate.n}, at most {format_percent(rate.upper)}"
    return Promise(promise, text, rate.events, holds=rate.n > 0 and not rate.events)


if __name__ == "__main__":
    sys.exit(run_main(main))
