"""Executes requests: blocking and with Ctrl-C, or in the caller's event loop; with a progress display or a listener."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turngap_agent.errors import UsageError

from turngap.api.results import Run, Sweep
from turngap.clock import SystemClock
from turngap.cluster import run as cluster_run
from turngap.cluster import trials
from turngap.corpus import clips
from turngap.model.turn import TurnRecord
from turngap.progress import ConsoleProgress, PipeConsole
from turngap.session import plan, preparation
from turngap.session.interruption import run_interruptible
from turngap.session.request import Request
from turngap.session.runner import ProgressDisplay
from turngap.store import ledger
from turngap.sweeps import folder as sweep_folder
from turngap.sweeps import plan as sweep_plan
from turngap.sweeps import runner as sweep_runner
from turngap.sweeps.plan import SweepRequest


def measure_run(request: Request, progress: ProgressDisplay | bool = False) -> Run:
    """Do what `request` plans, as `turngap.run` describes."""
    try:
        refuse_in_event_loop("run")
        with (
            cluster_run.connect_nodes(request.options.ray, request.scenario_path) as nodes,
            follow_progress(progress, request.scenario.name) as listener,
        ):
            ready, corpus = _prepare(request, listener)
            finished = run_interruptible(
                lambda stop: cluster_run.run_request(ready, corpus, nodes, listener, clock=SystemClock(), stop=stop),
                listener,
            )
    finally:
        request.release_lock()
    return Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)


async def ameasure_run(request: Request, progress: ProgressDisplay | bool = False) -> Run:
    """Do what `request` plans, as `turngap.arun` describes."""
    try:
        with (
            cluster_run.connect_nodes(request.options.ray, request.scenario_path) as nodes,
            follow_progress(progress, request.scenario.name) as listener,
        ):
            ready, corpus = await asyncio.to_thread(_prepare, request, listener)
            finished = await cluster_run.run_request(
                ready, corpus, nodes, listener, clock=SystemClock(), stop=asyncio.Event()
            )
    finally:
        request.release_lock()
    return Run(finished.folder.path, error=finished.error, interrupted=finished.interrupted)


def measure_sweep(request: SweepRequest, progress: ProgressDisplay | bool, ray: str = "") -> Sweep:
    """Do what `request` plans, as `turngap.sweep` describes; with `ray` on the nodes of that cluster."""
    try:
        return _measure_sweep(request, progress, ray)
    finally:
        request.release_locks()


def _measure_sweep(request: SweepRequest, progress: ProgressDisplay | bool, ray: str) -> Sweep:
    refuse_in_event_loop("sweep")
    if request.path is not None and not request.members:  # killed when all had been measured
        record = sweep_folder.updated_record(request.path, request.record)
        sweep_folder.write_sweep(request.path, record)
        return Sweep(request.path)
    scenario = Path(request.record.scenario_path)
    with (
        cluster_run.connect_nodes(ray, scenario) as nodes,
        follow_progress(progress, f"sweep {request.record.scenario}") as listener,
    ):
        listener.show_message(request.description)
        for member in request.members if not nodes else ():
            preparation.fetch_weights(member.row.profile_data)
        corpus = clips.build_corpus(request.members[0].request.scenario, listener.show_message)
        ready = sweep_plan.with_corpus(request, corpus)
        finished = run_interruptible(
            lambda stop: (
                trials.run_sweep(ready, corpus, nodes, listener, clock=SystemClock(), stop=stop)
                if nodes
                else sweep_runner.run_sweep(ready, corpus, listener, clock=SystemClock(), stop=stop)
            ),
            listener,
        )
    return Sweep(finished.path, error=finished.error)


def refuse_in_event_loop(name: str) -> None:
    """Raise UsageError if an event loop runs in this thread: `turngap.<name>()` would block it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    remedy = "use `await turngap.arun(...)`" if name == "run" else "call it in a thread: `await asyncio.to_thread(...)`"
    raise UsageError(f"turngap.{name}() blocks, and an event loop is running here: {remedy}")


def _prepare(request: Request, listener: _Progress) -> tuple[Request, clips.Corpus]:
    if request.budget is not None:
        ledger.check_ledger(request.options.out)
    for warning in plan.list_warnings(request):
        listener.show_message(f"warning: {warning}")
    return preparation.prepare(request, listener.show_message)


class _Progress:
    """Passes progress on to a listener, if there is one, and remembers whether calls have started."""

    def __init__(self, listener: ProgressDisplay | None) -> None:
        self._listener = listener
        self.calls_started = False

    def show_message(self, text: str) -> None:
        if self._listener is not None:
            self._listener.show_message(text)

    def show_start(self, turns: int) -> None:
        self.calls_started = True
        if self._listener is not None:
            self._listener.show_start(turns)

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        if self._listener is not None:
            self._listener.show_turn(turn, setting)


@contextmanager
def follow_progress(progress: ProgressDisplay | bool, title: str) -> Iterator[_Progress]:
    """Show progress on stderr (True), pass it on to a listener, or do neither (False)."""
    if progress is True:
        with ConsoleProgress(PipeConsole(stderr=True), title) as display:
            yield _Progress(display)
    else:
        yield _Progress(progress or None)
