"""Does the profile `cpu`, real models on two cores, keep what was promised of it?

    python -m benchmarks.cpu_profile [--venv DIR] [--json]                       about 4 minutes
    python -m benchmarks.cpu_profile --run results/RUN-ID [--run ...] [--venv DIR]        reads finished runs: 1 second

Runs the default scenario with plain silence endpointing (192 ms), or reads runs of it. `--venv` is an environment with
the extra `cpu` alone, to be weighed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import turngap
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.verdict.summary import valid_turns
from turngap_agent.tracing import Stage

from benchmarks.common import UNUSABLE, Promise, bounded, conclude, finished, news, parser

MIB = 1 << 20
RSS_MIB = 1.2e9 / MIB
ENVIRONMENT_GB = 1.3
PLAIN_SILENCE = ("endpointing.policy=silence", "endpointing.min_silence_ms=192")
"""What the promises are about; what the profile does is measured in docs/latency.md."""


def promises(run: StoredRun) -> list[Promise]:
    """What was promised of the profile, with this run's figures."""
    record = run.record
    counted = [turn for turn in run.turns if turn.scored]
    answered = [turn for turn in valid_turns(run.turns) if turn.is_good]
    return [
        Promise(
            "the run is whole, and its instrument in order",
            f"{record.verdict}, {'complete' if record.complete else 'not complete'}",
            None,
            holds=record.complete and record.verdict is Verdict.MEASURED,
        ),
        Promise(
            "every turn answered (20 or more)",
            f"{len(answered)} of {len(counted)}{_others(counted)}",
            len(answered),
            holds=len(answered) == len(counted) >= 20,
        ),
        bounded(
            "word error rate on human prompts <= 5 %", None if record.wer is None else 100 * record.wer, 5.0, unit="%"
        ),
        Promise(
            "the caller's voice is human",
            f"{record.corpus.synthetic} of {record.corpus.distinct_utterances} utterances synthetic",
            record.corpus.synthetic,
            holds=record.corpus.synthetic == 0,
        ),
        _under("median turn gap < 900 ms", record.turn_gap_ms.p50, 900.0),
        bounded("unexplained, median <= 10 ms", _exposed(answered, Stage.UNEXPLAINED, 50), 10.0),
        Promise("lead_in, 95th percentile", _text(_exposed(answered, Stage.LEAD_IN, 95)), None, holds=None),
        bounded("lead_in <= 30 ms (largest of all turns)", _exposed(answered, Stage.LEAD_IN, 100), 30.0),
        _no_underrun(counted),
        bounded("agent ready <= 15 s, weights cached", record.agent.ready_s, 15.0, unit="s"),
        _under(f"agent's largest RSS < 1.2 GB ({RSS_MIB:.0f} MiB)", record.agent.rss_mib, RSS_MIB, unit="MiB"),
        *_lateness(record),
    ]


def installed_bytes(venv: Path) -> int | None:
    """What the packages of an environment take on the disk, as `du` counts it; None where there are none."""
    files = [file for site in venv.glob("lib/python*/site-packages") for file in site.rglob("*")]
    kept = {status.st_ino: status.st_blocks * 512 for status in (file.lstat() for file in files)}
    return sum(kept.values()) or None


def run_default(out: Path, turns: int | None) -> Path:
    """One run of the default scenario with the profile `cpu` and plain silence endpointing; gives its folder.

    Raises:
        SystemExit: it was interrupted.
        TurngapError: it gave no result.
    """
    agent = turngap.Agent.profile("cpu", set=PLAIN_SILENCE)
    run = turngap.run("default", agent=agent, turns=turns, out=out, progress=True)
    if run.interrupted:
        raise SystemExit(UNUSABLE)
    run.report()
    return run.path


def main() -> int:
    """Print the table; exit 1 where a promise does not hold."""
    options = parser(__doc__)
    options.add_argument("--run", type=Path, action="append", default=[], help="a finished run's folder, to be read")
    options.add_argument("--out", type=Path, default=Path("results"), help="where a new run goes")
    options.add_argument("--turns", type=int, help="turns of a new run, in place of the whole scenario")
    options.add_argument("--venv", type=Path, help="an environment with the extra `cpu` alone")
    given = options.parse_args()
    folders = given.run or [run_default(given.out, given.turns)]
    rows: list[Promise] = []
    for folder in folders:
        name = f"{folder.name}: " if len(folders) > 1 else ""
        found = promises(store.read(folder))
        rows += [Promise(name + one.promise, one.figure, one.value, one.holds) for one in found]
    rows.append(_environment(given.venv))
    news(f"read: {', '.join(map(str, folders))}")
    return conclude("cpu profile", rows, {"runs": [folder.name for folder in folders]}, as_json=given.json)


def _environment(venv: Path | None) -> Promise:
    promise = f"the environment < {ENVIRONMENT_GB} GB installed"
    if venv is None:
        return Promise(promise, "not weighed (--venv DIR)", None, holds=None)
    size = installed_bytes(venv)
    return _under(promise, None if size is None else size / 1e9, ENVIRONMENT_GB, unit="GB")


def _lateness(record: RunRecord) -> list[Promise]:
    late = record.instrument.send
    return [
        bounded("caller's frames late, median <= 1 ms", None if late is None else late.p50_ms, 1.0, digits=3),
        bounded("caller's frames late, p99 <= 5 ms", None if late is None else late.p99_ms, 5.0, digits=3),
    ]


def _exposed(turns: Sequence[TurnRecord], stage: Stage, percentile: float) -> float | None:
    """None where a turn has no such stage: a figure that leaves turns out proves nothing of them."""
    found = [turn.stages[stage].exposed_ms for turn in turns if turn.stages is not None and stage in turn.stages]
    return float(np.percentile(found, percentile)) if found and len(found) == len(turns) else None


def _no_underrun(turns: Sequence[TurnRecord]) -> Promise:
    dry = [turn.utterance_id for turn in turns if turn.underruns_ms]
    heard = sum(turn.reply_ms is not None for turn in turns)
    text = f"{len(dry)} of {heard} replies" + (f" ({', '.join(dry[:3])})" if dry else "")
    return Promise("no underrun inside a reply", text, len(dry), holds=heard > 0 and not dry)


def _others(turns: Sequence[TurnRecord]) -> str:
    bad = [f"{turn.utterance_id} {turn.outcome}" for turn in turns if turn.outcome is not Outcome.ANSWERED]
    return f" ({', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''})" if bad else ""


def _under(promise: str, value: float | None, limit: float, unit: str = "ms") -> Promise:
    if value is None:
        return Promise(promise, "not measured", None, holds=False)
    return Promise(promise, f"{value:.2f} {unit}", value, holds=value < limit)


def _text(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f} ms"


if __name__ == "__main__":
    sys.exit(finished(main))
