"""Measures the instrument's own error on an idle machine, and with a busy process on every core.

    python -m benchmarks.accuracy [--edges 10000] [--turns 100] [--hog-turns 40] [--json]        about 8 minutes

Edges: t0 and t1 of signals whose onset and end are known, anywhere in a frame (benchmarks/edges.py), and t1 of voices
over an agent's background (benchmarks/background_edges.py). Idle: the reference agent, whose delay is known, at 150,
300 and 800 ms, with speech that ends anywhere in a frame and with speech that ends with a frame; the errors of label
and onset are included. Under load: turns with a known gap are measured together with the sentinel, as in a run, and the
sentinel's error in their windows is compared with their own; before and after a run with scripted engines, whose
`run.json` must state the same. The error under load has no limit, but it must be reported. Two medians agree if they
differ by at most 1 ms and what chance explains (95 % interval of the difference).
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from turngap.calibration import calibrate, idleness
from turngap.calibration.calibrate import BIAS_MS, LARGEST_MS, SD_MS, DelayErrors, Errors, ReferenceAgent
from turngap.calibration.idleness import Idle
from turngap.calibration.sentinel import run_sentinel
from turngap.calibration.utterances import plan_call
from turngap.caller.call import place_call
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.corpus import clips as corpus
from turngap.model.result import RunRecord, Verdict
from turngap.progress import ConsoleProgress
from turngap.scoring import score
from turngap.session import plan
from turngap.session.request import Options
from turngap.session.runner import run_request

from benchmarks.background_edges import measure_background_edges, print_background_edges
from benchmarks.edges import measure_edges, print_edges
from benchmarks.promises import Promise, check_at_most, make_parser, print_progress, print_result
from benchmarks.side_by_side import SCRIPTED, write_bursts

DELAYS_MS = (150.0, 300.0, 800.0)
CALLS = 5
HOG_DELAY_MS = 300.0
AGREE_MS = 1.0
"""How far the sentinel may be from the true error: the instrument's own limit."""
WIDEST_MS = 3.0
"""The largest half interval; a wider one would agree with anything."""
BUSY_LOOP = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
"""Busy until its parent ends; in its own session, as the work of others is."""
RUN_TURNS = 30
MOST_OVER_BACKGROUND = 1_000
"""Voices over each background: each takes some 10 ms to examine."""
INDEX = 5_000
"""The index of the calls with a known gap; the sentinel's calls have others."""


async def measure_idle(turns: int, calls: int) -> tuple[list[Promise], dict[str, Any]]:
    """Calibrate an idle machine, off and on the frame grid; return promises and details."""
    clock = SystemClock()
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    async with Scheduler(clock).running() as scheduler:
        for on_grid in (False, True):
            where = "on the frame grid" if on_grid else "off the frame grid"
            print_progress(f"calibrating, {where}")
            calibration = await calibrate.calibrate(
                DELAYS_MS, turns, clock=clock, scheduler=scheduler, calls=calls, on_grid=on_grid
            )
            rows.append(_idle_promise(calibration.idle, where))
            for delay in calibration.delays:
                rows += _check_errors(delay, where)
            details[where] = calibration.to_json()
    return rows, details


async def measure_under_load(turns: int, folder: Path) -> tuple[list[Promise], dict[str, Any]]:
    """Compare the sentinel's error with the true one, before and after a run, and the run's with both."""
    print_progress("under load: turns with a known gap beside the sentinel")
    before = await beside_sentinel(turns, INDEX)
    print_progress("under load: a run with scripted engines")
    record = await scripted_run(folder)
    print_progress("under load: turns with a known gap beside the sentinel, again")
    after = await beside_sentinel(turns, INDEX + 1)
    truth = calibrate.summarise_errors([*before.errors_ms, *after.errors_ms])
    sentinel = record.instrument.sentinel
    stated: dict[str, Any] = {} if sentinel is None else sentinel.model_dump()
    own = {"before": before, "after": after}
    rows = [
        _check_agreement(
            f"under load, {when}: the sentinel's bias in the turns' windows is their own", load.sentinel, load.truth
        )
        for when, load in own.items()
    ]
    rows += [
        _check_agreement(
            "under load: the sentinel's bias in a run's run.json is that of the turns before and after", stated, truth
        ),
        _check_verdict(record, stated.get("bias_median_ms")),
    ]
    details = {when: {"sentinel": load.sentinel, "truth": asdict(load.truth)} for when, load in own.items()}
    return rows, details | {"truth": asdict(truth), "run_sentinel": stated, "run_verdict": record.verdict}


@dataclass(frozen=True, slots=True)
class SentinelComparison:
    """Turns with a known gap, and a sentinel beside them."""

    errors_ms: tuple[float | None, ...]
    sentinel: dict[str, Any]
    """Its error in their windows, as in `run.json`."""

    @property
    def truth(self) -> Errors:
        """The turns' own error."""
        return calibrate.summarise_errors(self.errors_ms)


async def beside_sentinel(turns: int, index: int) -> SentinelComparison:
    """Make one call of `turns` turns beside the sentinel: as many simultaneous calls as in a run."""
    clock = SystemClock()
    planned, clips = plan_call(turns, index, HOG_DELAY_MS, seed=1)
    async with Scheduler(clock).running() as scheduler:
        reference = await ReferenceAgent.start()
        gc.collect()
        gc.freeze()  # as in a run: a garbage collection would take longer than a frame
        try:
            async with run_sentinel(clock=clock, scheduler=scheduler, seed=1) as watch:
                record = await place_call(
                    reference.url,
                    planned,
                    clips,
                    clock=clock,
                    scheduler=scheduler,
                    seed=1,
                    on_spoken=lambda sid, turn, spoken: calibrate.send_order(
                        reference, sid, turn, spoken, HOG_DELAY_MS
                    ),
                )
        finally:
            gc.unfreeze()
            await reference.stop()
    scored = score.score_call(record, (), planned, network_ms=0.0, cold=False)
    errors = tuple(sample.error_ms for sample in calibrate.measure_errors(record, reference))
    return SentinelComparison(errors, watch.errors(scored).to_json())


async def scripted_run(folder: Path) -> RunRecord:
    """Run a scenario with scripted engines, as `turngap run` does."""
    write_bursts(folder, RUN_TURNS)
    turns = "".join(f"  - {{id: u{n}, audio: burst-{n}.wav, pause_ms: 300}}\n" for n in range(RUN_TURNS))
    file = folder / "load.scenario.yaml"
    file.write_text(f"name: load\nprobe: true\nturns:\n{turns}", "utf-8")
    request = plan.plan_run(str(file), profile=str(SCRIPTED), options=Options(out=folder / "results"))
    clips = corpus.build_corpus(request.scenario, print_progress)
    with ConsoleProgress(Console(stderr=True), "load") as display:
        finished = await run_request(request, clips, display, clock=SystemClock(), stop=asyncio.Event())
    return finished.record


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core of this process busy with another process."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
        for process in busy:
            process.wait()


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--edges", type=int, default=10_000, help="signals with known edges of each kind; 0: none")
    options.add_argument("--turns", type=int, default=100, help="turns for each delay, idle machine; 0: none")
    options.add_argument("--hog-turns", type=int, default=40, help="turns under load, twice; 0: none")
    options.add_argument("--calls", type=int, default=CALLS, help="simultaneous calls, idle machine")
    arguments = options.parse_args()
    rows: list[Promise] = []
    details: dict[str, Any] = {}
    if arguments.edges:
        rows, details["edges"] = measure_edges(arguments.edges)
        print_edges(details["edges"], as_json=arguments.json)
        promises, details["background"] = measure_background_edges(min(arguments.edges, MOST_OVER_BACKGROUND))
        print_background_edges(details["background"], as_json=arguments.json)
        rows += promises
    if arguments.turns:
        with raised_priority():
            promises, details["idle"] = asyncio.run(measure_idle(arguments.turns, arguments.calls))
        rows += promises
    if arguments.hog_turns:
        with tempfile.TemporaryDirectory() as folder, busy_cores(), raised_priority():  # as the callers of a run are
            promises, details["hogs"] = asyncio.run(measure_under_load(arguments.hog_turns, Path(folder)))
        rows += promises
    return print_result("accuracy", rows, details, as_json=arguments.json)


def _idle_promise(idle: Idle, where: str) -> Promise:
    """Return whether the machine was idle: not a promise, but a condition of the limits."""
    figure = (
        f"load a core {idle.load_per_core:.2f}, timer p99 {idle.timer_p99_ms:.2f} ms, "
        f"{idle.stolen_share:.2%} of the CPU time stolen"
    )
    bounds = (
        f"load < {idleness.LOAD:g} a core, timer p99 < {idleness.TIMER_MS:g} ms, stolen <= {idleness.STOLEN_SHARE:.1%}"
    )
    return Promise(f"the machine is idle, {where}: {bounds}", figure, None, holds=idle.idle)


def _check_errors(row: DelayErrors, where: str) -> list[Promise]:
    name = f"{row.delay_ms:g} ms, {where}"
    bias = None if row.bias_median_ms is None else abs(row.bias_median_ms)
    return [
        check_at_most(f"{name}: |median error| <= {BIAS_MS:g} ms", bias, BIAS_MS, digits=3),
        check_at_most(f"{name}: sd <= {SD_MS:g} ms", row.sd_ms, SD_MS, digits=3),
        check_at_most(
            f"{name}: largest of {row.n} <= {LARGEST_MS:g} ms",
            None if row.missed else row.max_abs_error_ms,
            LARGEST_MS,
            digits=3,
        ),
    ]


def _check_agreement(promise: str, stated: dict[str, Any], truth: Errors) -> Promise:
    stated_ms, half_ms = stated.get("bias_median_ms"), _half_interval_ms(stated, asdict(truth))
    if stated_ms is None or truth.bias_median_ms is None or half_ms is None:
        return Promise(promise, "not measured", None, holds=False)
    apart_ms = stated_ms - truth.bias_median_ms
    figure = f"{stated_ms:+.2f} ms, true {truth.bias_median_ms:+.2f} ms: differ by {apart_ms:+.2f} ± {half_ms:.2f} ms"
    agrees = abs(apart_ms) <= AGREE_MS + half_ms and half_ms <= WIDEST_MS
    return Promise(f"{promise} (within {AGREE_MS:g} ms and chance)", figure, apart_ms, holds=agrees)


def _half_interval_ms(*errors: dict[str, Any]) -> float | None:
    """Return half the 95 % interval of the difference of two medians; a median has pi / 2 times a mean's variance."""
    if any(not error.get("n") or error.get("sd_ms") is None for error in errors):
        return None
    return 1.96 * math.sqrt(sum(math.pi / 2 * error["sd_ms"] ** 2 / error["n"] for error in errors))


def _check_verdict(record: RunRecord, bias_ms: float | None) -> Promise:
    """Return the promise that a run whose sentinel was off by more than the limit is INVALID."""
    off = bias_ms is None or abs(bias_ms) > LARGEST_MS
    holds = record.verdict is Verdict.INVALID if off else True
    return Promise(
        f"under load: a run whose sentinel is off by over {LARGEST_MS:g} ms is INVALID", record.verdict, None, holds
    )


if __name__ == "__main__":
    sys.exit(main())
