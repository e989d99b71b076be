"""Measures whether profile `cpu`, real models on two cores, keeps its promises.

    python -m benchmarks.cpu_profile [--venv DIR] [--json]                              about 4 minutes
    python -m benchmarks.cpu_profile --run results/RUN-ID [--run ...] [--venv DIR]      reads finished runs: 1 second

Runs the default scenario with plain silence endpointing (192 ms), or reads runs of it. `--venv` is an environment with
only the extra `cpu`, whose size is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.verdict.summary import valid_turns
from turngap_agent.tracing import Stage

from benchmarks.promises import Promise, check_at_most, make_parser, print_progress, print_result, run_main
from benchmarks.sweeps import run_scenario

MIB = 1 << 20
RSS_MIB = 1.2e9 / MIB
ENVIRONMENT_GB = 1.3
PLAIN_SILENCE = ("endpointing.policy=silence", "endpointing.min_silence_ms=192")
"""The settings of the promises; docs/latency.md has the profile's own."""


def promises(run: StoredRun) -> list[Promise]:
    """Return the promises of the profile with this run's figures."""
    record = run.record
    counted = [turn for turn in run.turns if turn.scored]
    answered = [turn for turn in valid_turns(run.turns) if turn.is_good]
    return [
        Promise(
            "the run is complete and not INVALID",
            f"{record.verdict}, {'complete' if record.complete else 'not complete'}",
            None,
            holds=record.complete and record.verdict is Verdict.MEASURED,
        ),
        Promise(
            "every turn answered (20 or more)",
            f"{len(answered)} of {len(counted)}{_describe_others(counted)}",
            len(answered),
            holds=len(answered) == len(counted) >= 20,
        ),
        check_at_most(
            "word error rate on human prompts <= 5 %", None if record.wer is None else 100 * record.wer, 5.0, unit="%"
        ),
        Promise(
            "the caller's voice is human",
            f"{record.corpus.synthetic} of {record.corpus.distinct_utterances} utterances synthetic",
            record.corpus.synthetic,
            holds=record.corpus.synthetic == 0,
        ),
        _promise_under("median turn gap < 900 ms", record.turn_gap_ms.p50, 900.0),
        check_at_most("unexplained, median <= 10 ms", _exposed_ms(answered, Stage.UNEXPLAINED, 50), 10.0),
        Promise(
            "lead_in, 95th percentile",
            _format_value(_exposed_ms(answered, Stage.LEAD_IN, 95)),
            None,
            holds=None,
        ),
        check_at_most("lead_in <= 30 ms (largest of all turns)", _exposed_ms(answered, Stage.LEAD_IN, 100), 30.0),
        _no_underrun(counted),
        check_at_most("agent ready <= 15 s, weights cached", record.agent.ready_s, 15.0, unit="s"),
        _promise_under(f"agent's largest RSS < 1.2 GB ({RSS_MIB:.0f} MiB)", record.agent.rss_mib, RSS_MIB, unit="MiB"),
        *_lateness(record),
    ]


def installed_bytes(venv: Path) -> int | None:
    """Return the disk space of an environment's packages, as `du` counts it; None if there are none."""
    files = [file for site in venv.glob("lib/python*/site-packages") for file in site.rglob("*")]
    sizes = {status.st_ino: status.st_blocks * 512 for status in (file.lstat() for file in files)}
    return sum(sizes.values()) or None


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--run", type=Path, action="append", default=[], help="read this finished run; repeatable")
    options.add_argument("--out", type=Path, default=Path("results"), help="folder for a new run")
    options.add_argument("--turns", type=int, help="turns of a new run (default: the whole scenario)")
    options.add_argument("--venv", type=Path, help="an environment with only the extra `cpu`")
    arguments = options.parse_args()
    runs = [store.read_run(folder) for folder in arguments.run]
    runs = runs or [
        run_scenario("default", profile="cpu", sets=PLAIN_SILENCE, out=arguments.out, turns=arguments.turns)
    ]
    rows: list[Promise] = []
    for run in runs:
        name = f"{run.record.run_id}: " if len(runs) > 1 else ""
        rows += [replace(promise, promise=name + promise.promise) for promise in promises(run)]
    rows.append(_environment(arguments.venv))
    run_ids = [run.record.run_id for run in runs]
    print_progress(f"runs: {', '.join(run_ids)}")
    return print_result("cpu profile", rows, {"runs": run_ids}, as_json=arguments.json)


def _environment(venv: Path | None) -> Promise:
    promise = f"the environment < {ENVIRONMENT_GB} GB installed"
    if venv is None:
        return Promise(promise, "not measured (--venv DIR)", None, holds=None)
    size = installed_bytes(venv)
    return _promise_under(promise, None if size is None else size / 1e9, ENVIRONMENT_GB, unit="GB")


def _lateness(record: RunRecord) -> list[Promise]:
    late = record.instrument.send
    return [
        check_at_most("caller's frames late, median <= 1 ms", None if late is None else late.p50_ms, 1.0, digits=3),
        check_at_most("caller's frames late, p99 <= 5 ms", None if late is None else late.p99_ms, 5.0, digits=3),
    ]


def _exposed_ms(turns: Sequence[TurnRecord], stage: Stage, percentile: float) -> float | None:
    """Return a percentile of a stage's exposed time; None if a turn lacks the stage, as nothing is known about it."""
    times_ms = [turn.stages[stage].exposed_ms for turn in turns if turn.stages is not None and stage in turn.stages]
    return float(np.percentile(times_ms, percentile)) if times_ms and len(times_ms) == len(turns) else None


def _no_underrun(turns: Sequence[TurnRecord]) -> Promise:
    dry = [turn.utterance_id for turn in turns if turn.underruns_ms]
    heard = sum(turn.reply_ms is not None for turn in turns)
    text = f"{len(dry)} of {heard} replies" + (f" ({', '.join(dry[:3])})" if dry else "")
    return Promise("no underrun inside a reply", text, len(dry), holds=heard > 0 and not dry)


def _describe_others(turns: Sequence[TurnRecord]) -> str:
    bad = [f"{turn.utterance_id} {turn.outcome}" for turn in turns if turn.outcome is not Outcome.ANSWERED]
    return f" ({', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''})" if bad else ""


def _promise_under(promise: str, value: float | None, limit: float, unit: str = "ms") -> Promise:
    if value is None:
        return Promise(promise, "not measured", None, holds=False)
    return Promise(promise, f"{value:.2f} {unit}", value, holds=value < limit)


def _format_value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f} ms"


if __name__ == "__main__":
    sys.exit(run_main(main))
