"""The API: what the command line, the pytest plugin and the benchmarks call, and what `import turngap` offers.

A run takes place in this process; the agent is a process of its own or a URL. Each document (scenario, profile, budget,
network) is an object, a file, or the name of one that ships.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile

from turngap.api_results import Run, RunComparison, Sweep, compare_runs, find_run
from turngap.calibration import calibrate as calibration
from turngap.calibration.calibrate import Calibration
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.corpus import clips
from turngap.model.turn import TurnRecord
from turngap.network import NetworkProfile
from turngap.progress import ConsoleProgress
from turngap.scenario import Scenario
from turngap.session import plan, preparation, runner
from turngap.session.interruption import run_interruptible
from turngap.session.plan import DEFAULT_SCENARIO, Options, Request, load_scenario
from turngap.session.runner import ProgressDisplay
from turngap.sweeps import folder as sweep_folder
from turngap.sweeps import grid
from turngap.sweeps import plan as sweep_plan
from turngap.sweeps import runner as sweep_runner
from turngap.sweeps.folder import is_sweep
from turngap.sweeps.grid import Setting
from turngap.sweeps.plan import SweepRequest
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent under test; made by `Agent.profile` or `Agent.url`."""

    source: Profile | Path | str | None = None
    """The profile of an agent that is started for the run; None where it runs already."""
    overrides: tuple[str, ...] = ()
    """Changes of the profile, `section.key=value`."""
    address: str | None = None
    """The WebSocket URL of an agent that runs already."""
    inject: tuple[str, ...] = ()
    """Delays put into its stages, `STAGE=MS`."""
    nice: int = 0
    otlp_port: int = 0

    @classmethod
    def profile(
        cls,
        profile: Profile | Path | str = plan.DEFAULT_PROFILE,
        *,
        set: Mapping[str, object] | Sequence[str] = (),  # as the option of the command line
        inject: Mapping[str, float] | Sequence[str] = (),
        nice: int = 0,
        otlp_port: int = 0,
    ) -> Self:
        """An agent that is started for the run, from a profile.

        `set` changes the profile: values by their dotted key, or `section.key=value` each. `inject` delays stages by so
        many ms. `nice` is the niceness of its process. Its spans are received at `otlp_port`, 0 for a free one.
        """
        return cls(source=profile, overrides=_overrides(set), inject=_delays(inject), nice=nice, otlp_port=otlp_port)

    @classmethod
    def url(cls, url: str, *, otlp_port: int = 0) -> Self:
        """An agent that runs already, at `ws://HOST:PORT/PATH` or `wss://...`.

        If it sends OpenTelemetry spans, they are received at `http://127.0.0.1:<otlp_port>`; 0 is a free port.
        """
        return cls(address=url, otlp_port=otlp_port)


def run(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
    progress: ProgressDisplay | bool = False,
) -> Run:
    """Place the calls of a scenario and measure every turn; blocks until the run has ended.

    `agent` is an `Agent`, or a profile (default: `cpu`). With `budget` the run is judged. `turns` and `seed` replace
    those of the scenario; with `networks` every utterance is called under each of them. The run folder is made in
    `out`. `progress` is True for a display on stderr, or a listener. Ctrl-C while calls are placed ends the run with
    the turns that are finished (`Run.interrupted`). An error after the run folder was made is in `Run.error`, and the
    verdict is INVALID.

    Raises:
        UsageError: (or a subclass) something that was given does not fit; nothing was started. In a running event loop
            `arun` is to be used.
        WeightsError: a model could not be fetched.
        HarnessError: the run folder cannot be written.
        KeyboardInterrupt: interrupted before the first call.
    """
    return measure_run(
        make_request(scenario, agent=agent, budget=budget, turns=turns, networks=networks, seed=seed, out=out),
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
    progress: ProgressDisplay | bool = False,
) -> Run:
    """`run` for asyncio. The loop is the caller's: whatever else runs on it makes the callers late.

    Cancelling it ends the run at once; turns that were finished stay in the folder, and `resume` completes it.
    """
    return await ameasure_run(
        make_request(scenario, agent=agent, budget=budget, turns=turns, networks=networks, seed=seed, out=out),
        progress,
    )


def resume(run: Run | Path | str, *, otlp_port: int = 0, progress: ProgressDisplay | bool = False) -> Run:
    """Place the missing calls of an interrupted run; everything else is as when it began.

    Raises:
        RunFolderError: it is no run, complete, being written, or its scenario has changed.
        TurngapError: as `run`.
    """
    return measure_run(resume_request(run, otlp_port=otlp_port), progress)


def sweep(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    set: Mapping[str, Sequence[object]] | Sequence[str] = (),  # as the option of the command line
    steps: Mapping[str, Mapping[str, object] | Sequence[str]] | Path | str | None = None,
    profile: Profile | Path | str | None = None,
    turns: int | None = None,
    seed: int | None = None,
    out: Path | str = "results",
    progress: ProgressDisplay | bool = False,
) -> Sweep:
    """Measure several settings of a profile, interleaved; blocks until the sweep has ended.

    `set` lists the values of each key, and every combination is measured; `steps` names settings instead, as a mapping
    or a YAML file. The other arguments are those of `run`, for each setting.

    Raises:
        UsageError: (or a subclass) something that was given does not fit; nothing was started.
        TurngapError: as `run`.
        KeyboardInterrupt: interrupted before the first call.
    """
    if set and steps is not None:
        raise UsageError("--set and --grid both say what to sweep: give one of them")
    options = Options(seed=seed, n_turns=turns, out=Path(out))
    return _measure_sweep(
        sweep_plan.plan_sweep(scenario, _settings(set, steps), profile=profile, options=options), progress
    )


def resume_sweep(sweep: Sweep | Path | str, *, progress: ProgressDisplay | bool = False) -> Sweep:
    """Place the missing calls of an interrupted sweep.

    Raises:
        RunFolderError: it is no sweep, complete, being written, or its scenario has changed.
        TurngapError: as `run`.
    """
    path = sweep.path if isinstance(sweep, Sweep) else find_run(sweep, "sweep")
    return _measure_sweep(sweep_plan.plan_resumed_sweep(path), progress)


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
    """Compare two runs: what became slower or faster, the turn gap and each stage's part of it.

    Raises:
        RunFolderError: one of them is no run, damaged, or has no answered turns.
    """
    new, old = (one if isinstance(one, Run) else Run(one) for one in (head, base))
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
    _refuse_in_event_loop("calibrate")
    with raised_priority():
        return asyncio.run(_calibrate(delays_ms, turns))


def make_request(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
) -> Request:
    """Check everything that `run` takes, and return it as the plan of a run.

    Raises:
        UsageError: (or a subclass) something does not fit.
    """
    subject = agent if isinstance(agent, Agent) else Agent(source=agent)
    return plan.plan_run(
        scenario,
        profile=subject.source,
        overrides=subject.overrides,
        url=subject.address,
        budget=budget,
        networks=networks,
        options=Options(seed, turns, Path(out), subject.inject, subject.otlp_port, subject.nice),
    )


def resume_request(run: Run | Path | str, *, otlp_port: int = 0) -> Request:
    """Return the missing calls of an interrupted run as a plan.

    Raises:
        RunFolderError: it is no run, complete, being written, or its scenario has changed.
    """
    return plan.plan_resumed_run(run.path if isinstance(run, Run) else find_run(run), Options(otlp_port=otlp_port))


def measure_run(request: Request, progress: ProgressDisplay | bool = False) -> Run:
    """Do what `request` plans, as `run` describes."""
    _refuse_in_event_loop("run")
    with _follow(progress, request.scenario.name) as listener:
        ready, corpus = _prepare(request, listener)
        finished = run_interruptible(
            lambda stop: runner.run_request(ready, corpus, listener, clock=SystemClock(), stop=stop), listener
        )
    return Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)


async def ameasure_run(request: Request, progress: ProgressDisplay | bool = False) -> Run:
    """Do what `request` plans, as `arun` describes."""
    with _follow(progress, request.scenario.name) as listener:
        ready, corpus = await asyncio.to_thread(_prepare, request, listener)
        finished = await runner.run_request(ready, corpus, listener, clock=SystemClock(), stop=asyncio.Event())
    return Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)


def _prepare(request: Request, listener: _Progress) -> tuple[Request, clips.Corpus]:
    for warning in plan.list_warnings(request):
        listener.show_message(f"warning: {warning}")
    return preparation.prepare(request, listener.show_message)


def _measure_sweep(request: SweepRequest, progress: ProgressDisplay | bool) -> Sweep:
    _refuse_in_event_loop("sweep")
    if request.path is not None and not request.members:  # killed when all had been measured
        record = sweep_folder.updated_record(request.path, request.record)
        sweep_folder.write_sweep(request.path, record)
        return Sweep(request.path)
    with _follow(progress, f"sweep {request.record.scenario}") as listener:
        listener.show_message(request.description)
        for member in request.members:
            preparation.fetch_weights(member.row.profile_data)
        corpus = clips.build_corpus(request.members[0].request.scenario, listener.show_message)
        ready = sweep_plan.with_corpus(request, corpus)
        finished = run_interruptible(
            lambda stop: sweep_runner.run_sweep(ready, corpus, listener, clock=SystemClock(), stop=stop), listener
        )
    return Sweep(finished.path, error=finished.error)


async def _calibrate(delays_ms: Sequence[float], turns: int) -> Calibration:
    clock = SystemClock()
    async with Scheduler(clock).running() as scheduler:
        return await calibration.calibrate(
            delays_ms, turns, clock=clock, scheduler=scheduler, calls=SIMULTANEOUS_CALIBRATION_CALLS
        )


class _Progress:
    """Passes progress on to a listener, if there is one, and remembers whether calls have begun."""

    def __init__(self, listener: ProgressDisplay | None) -> None:
        self._listener = listener
        self.begun = False

    def show_message(self, text: str) -> None:
        if self._listener is not None:
            self._listener.show_message(text)

    def show_start(self, turns: int) -> None:
        self.begun = True
        if self._listener is not None:
            self._listener.show_start(turns)

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        if self._listener is not None:
            self._listener.show_turn(turn, setting)


@contextmanager
def _follow(progress: ProgressDisplay | bool, title: str) -> Iterator[_Progress]:
    if progress is True:
        with ConsoleProgress(Console(stderr=True), title) as display:
            yield _Progress(display)
    else:
        yield _Progress(progress or None)


def _settings(
    values: Mapping[str, Sequence[object]] | Sequence[str],
    steps: Mapping[str, Mapping[str, object] | Sequence[str]] | Path | str | None,
) -> tuple[Setting, ...]:
    if isinstance(steps, Mapping):
        named = tuple(grid.Step(name=name, set=_overrides(changes)) for name, changes in steps.items())
        return grid.name_settings(named, "steps") if named else grid.combine_values(())
    if steps is not None:
        return grid.load_steps(Path(steps))
    if isinstance(values, Mapping):
        return grid.combine_values([f"{key}={','.join(map(json.dumps, several))}" for key, several in values.items()])
    return grid.combine_values(values)


def _overrides(changes: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(changes, Mapping):
        return tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    return tuple(changes)


def _delays(inject: Mapping[str, float] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(inject, Mapping):
        return tuple(f"{stage}={delay_ms:g}" for stage, delay_ms in inject.items())
    return tuple(inject)


def _refuse_in_event_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    remedy = "use `await turngap.arun(...)`" if name == "run" else "call it in a thread: `await asyncio.to_thread(...)`"
    raise UsageError(f"turngap.{name}() blocks, and an event loop is running here: {remedy}")
