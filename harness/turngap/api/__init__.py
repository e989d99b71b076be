"""The API: what the command line, the pytest plugin and the benchmarks call, and what `import turngap` offers.

A run takes place in this process; the agent is a process of its own or a URL. Each document (scenario, profile, budget,
network) is an object, a file, or the name of one that ships.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile

from turngap.api.execution import ameasure_run, measure_run, measure_sweep, refuse_in_event_loop
from turngap.api.folders import find_run
from turngap.api.requests import Agent, make_request, resume_request, sweep_settings
from turngap.api.results import Run, RunComparison, Sweep, compare_runs
from turngap.calibration import calibrate as calibration
from turngap.calibration.calibrate import Calibration
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.network import NetworkProfile
from turngap.scenario import Scenario
from turngap.session.request import Options
from turngap.session.run_documents import DEFAULT_SCENARIO, load_scenario
from turngap.session.runner import ProgressDisplay
from turngap.sweeps import plan as sweep_plan
from turngap.sweeps.folder import is_sweep
from turngap.verdict.budget import Budget

__all__ = [
    "DEFAULT_SCENARIO",
    "LONGEST_DELAY_MS",
    "Agent",
    "Calibration",
    "ProgressDisplay",
    "Run",
    "RunComparison",
    "Sweep",
    "ameasure_run",
    "arun",
    "calibrate",
    "compare",
    "find_run",
    "is_sweep",
    "load",
    "load_scenario",
    "load_sweep",
    "make_request",
    "measure_run",
    "resume",
    "resume_request",
    "resume_sweep",
    "run",
    "sweep",
]
MOST_CALIBRATION_TURNS = 10_000
LONGEST_DELAY_MS = 30_000.0
CALIBRATION_DELAYS_MS = (150.0, 300.0, 800.0)
SIMULTANEOUS_CALIBRATION_CALLS = 5
"""As many as before every run."""


def run(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
    all_turns: bool = False,
    trace_worst: int = 0,
    ray: str = "",
    progress: ProgressDisplay | bool = False,
) -> Run:
    """Place the calls of a scenario and measure every turn; blocks until the run has ended.

    `agent` is an `Agent`, or a profile (default: `cpu`). With `budget` the run is judged. `turns` and `seed` replace
    those of the scenario; with `networks` every utterance is called under each of them. The run folder is made in
    `out`. A run with a budget stops once its verdict is decided, unless `all_turns`. `trace_worst` writes traces of so
    many of the slowest turns (`RunRecord.traces`). With `ray`, `HOST:PORT` or `local`, the nodes of a Ray cluster call
    the agent at a URL. `progress` is True for a display on stderr, or a listener. Ctrl-C while calls are placed ends
    the run with the turns that are finished (`Run.interrupted`). An error after the run folder was made is in
    `Run.error`, and the verdict is INVALID.

    Raises:
        UsageError: (or a subclass) something that was given does not fit; nothing was started. In a running event loop
            `arun` is to be used.
        WeightsError: a model could not be fetched.
        AgentError: no agent answers at the URL. A profile's agent that does not start is in `Run.error` instead.
        HarnessError: the run folder cannot be written.
        KeyboardInterrupt: interrupted before the first call, or a second time after it; the message, if any, says
            what is kept.
    """
    return measure_run(
        make_request(
            scenario,
            agent=agent,
            budget=budget,
            turns=turns,
            networks=networks,
            seed=seed,
            out=out,
            all_turns=all_turns,
            trace_worst=trace_worst,
            ray=ray,
        ),
        progress,
    )


async def arun(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
    all_turns: bool = False,
    trace_worst: int = 0,
    ray: str = "",
    progress: ProgressDisplay | bool = False,
) -> Run:
    """`run` for asyncio. The loop is the caller's: whatever else runs on it makes the callers late.

    Cancelling it ends the run at once. Turns that were finished stay in the folder, and `resume` places the missing
    calls.
    """
    return await ameasure_run(
        make_request(
            scenario,
            agent=agent,
            budget=budget,
            turns=turns,
            networks=networks,
            seed=seed,
            out=out,
            all_turns=all_turns,
            trace_worst=trace_worst,
            ray=ray,
        ),
        progress,
    )


def resume(
    run: Run | Path | str, *, otlp_port: int = 0, ray: str = "", progress: ProgressDisplay | bool = False
) -> Run:
    """Place the missing calls of an interrupted run; everything else is as when it began.

    Raises:
        RunFolderError: it is no run, complete, being written, or its scenario has changed.
        TurngapError: as `run`.
    """
    return measure_run(resume_request(run, otlp_port=otlp_port, ray=ray), progress)


def sweep(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    set: Mapping[str, Sequence[object]] | Sequence[str] = (),  # as the option of the command line
    steps: Mapping[str, Mapping[str, object] | Sequence[str]] | Path | str | None = None,
    profile: Profile | Path | str | None = None,
    turns: int | None = None,
    seed: int | None = None,
    out: Path | str = "results",
    ray: str = "",
    progress: ProgressDisplay | bool = False,
) -> Sweep:
    """Measure several settings of a profile, interleaved; blocks until the sweep has ended.

    `set` lists the values of each key, and every combination is measured; `steps` names settings instead, as a mapping
    or a YAML file. With `ray` each setting is a job of that Ray
    cluster, at the same time as the others. The other arguments are those of `run`, for each setting.

    Raises:
        UsageError: (or a subclass) something that was given does not fit; nothing was started.
        TurngapError: as `run`.
        KeyboardInterrupt: as `run`.
    """
    if set and steps is not None:
        raise UsageError("--set and --grid both say what to sweep: give one of them")
    options = Options(seed=seed, n_turns=turns, out=Path(out))
    return measure_sweep(
        sweep_plan.plan_sweep(scenario, sweep_settings(set, steps), profile=profile, options=options), progress, ray
    )


def resume_sweep(sweep: Sweep | Path | str, *, ray: str = "", progress: ProgressDisplay | bool = False) -> Sweep:
    """Place the missing calls of an interrupted sweep.

    Raises:
        RunFolderError: it is no sweep, complete, being written, or its scenario has changed.
        TurngapError: as `run`.
    """
    path = sweep.path if isinstance(sweep, Sweep) else find_run(sweep, "sweep")
    return measure_sweep(sweep_plan.plan_resumed_sweep(path), progress, ray)


def load(folder: Path | str) -> Run:
    """Read a run from its folder, or by its id under `results/`.

    Raises:
        RunFolderError: there is no such run, or its folder is damaged.
    """
    return Run(folder)


def load_sweep(folder: Path | str) -> Sweep:
    """Read a sweep from its folder, or by its id under `results/`.

    Raises:
        RunFolderError: there is no such sweep, or its folder is damaged.
    """
    return Sweep(folder)


def compare(head: Run | Path | str, base: Run | Path | str) -> RunComparison:
    """Compare two runs: centre, tail and outcomes, what became slower or worse, and in which stage.

    Raises:
        RunFolderError: one of them is no run, damaged, or has no answered turns.
    """
    new, old = (run if isinstance(run, Run) else Run(run) for run in (head, base))
    return compare_runs(new, old)


def calibrate(delays_ms: Sequence[float] = CALIBRATION_DELAYS_MS, *, turns: int = 25) -> Calibration:
    """Measure an agent whose delay is known, `turns` turns for each delay: the rest is the instrument's own error.

    Raises:
        UsageError: a delay is not from 0 to 30,000 ms, or `turns` not from 1 to 10,000.
        HarnessError: the reference agent did not start.
    """
    if not 1 <= turns <= MOST_CALIBRATION_TURNS:
        raise UsageError(f"--turns {turns}: 1 to {MOST_CALIBRATION_TURNS} turns can be measured for each delay")
    for delay_ms in delays_ms:
        if not 0 <= delay_ms <= LONGEST_DELAY_MS:
            raise UsageError(f"{delay_ms:g} is no delay from 0 to {LONGEST_DELAY_MS:.0f} ms")
    refuse_in_event_loop("calibrate")
    with raised_priority():
        return asyncio.run(_calibrate(delays_ms, turns))


async def _calibrate(delays_ms: Sequence[float], turns: int) -> Calibration:
    clock = SystemClock()
    async with Scheduler(clock).running() as scheduler:
        return await calibration.calibrate(
            delays_ms, turns, clock=clock, scheduler=scheduler, calls=SIMULTANEOUS_CALIBRATION_CALLS
        )
