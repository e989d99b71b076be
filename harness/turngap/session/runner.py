"""Runs one session: opens its runs, starts the agents, places the calls and closes the runs with their verdicts.

A session measures one agent, or in a sweep several. Each agent has a run of its own; they share the instrument, the
caller audio, the calibration and the sentinel.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from turngap_agent import tracing
from turngap_agent.errors import AgentError, TurngapError, UsageError

from turngap.calibration.calibrate import Calibration, calibrate
from turngap.calibration.sentinel import Sentinel, run_sentinel
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.processes.caller_orders import CallerLoad
from turngap.processes.caller_processes import CallerProcesses
from turngap.scenario.calls import describe_repeats
from turngap.session import agent_metrics, machine_record, run_record
from turngap.session.agent_processes import AgentProcesses, start_agents
from turngap.session.agent_run import AgentRun, AssignedCall, close_run, open_run
from turngap.session.call_observer import CallObserver
from turngap.session.call_slots import CallSlots
from turngap.session.request import Request
from turngap.session.run_record import Judge
from turngap.session.scoring_process import ScoringProcess
from turngap.session.timed_calls import Arrange, OnCall
from turngap.store import folder as store
from turngap.store.folder import RunFolder

CALIBRATION_MS, CALIBRATION_TURNS, CALIBRATION_CALLS = 300.0, 10, 5
"""The short calibration before a run: its delay, its turns, and the simultaneous calls they are spread over."""
NOTHING_KEPT = "interrupted before the first turn was measured: nothing is kept"


class ProgressDisplay(Protocol):
    """Shows how a session progresses."""

    def show_message(self, text: str) -> None:
        """Show a line."""
        ...

    def show_start(self, turns: int) -> None:
        """Show that the calls start, with so many turns to be scored."""
        ...

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        """Show a scored turn, warm-up turns included; `setting` is that of a sweep."""
        ...


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended, complete or not."""

    record: RunRecord
    folder: RunFolder
    error: TurngapError | None = None
    """What ended it early; the record states it too."""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """The runs of one session and their calls."""

    agent_runs: Sequence[AgentRun]
    calls: Sequence[AssignedCall]
    slots: int
    """Simultaneous calls, warm-up calls apart."""
    sentinel_log: Path
    """The file of the sentinel's measurements: a resumed session continues it."""
    interrupted: str
    """The message of the error where the user interrupts the session: it says how to resume."""
    arrange: Arrange | None = None
    """Plans a moment for each call, whatever others are under way; None: each is placed as soon as a slot is free."""
    on_call: OnCall | None = None
    """Takes the record of each call when it has ended."""
    caller_processes: int = 1
    """So many place the calls with planned moments; 1: this process does."""
    caller_loads: list[CallerLoad] = field(default_factory=list)
    """What the calls took of these processes, where there are several; filled in while the session runs."""
    observer: CallObserver | None = None
    """Of a session that shares a run with others."""


class RunSession(Protocol):
    """Places a session's calls: `run_session`, or what has others place them."""

    async def __call__(
        self, session: Session, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
    ) -> TurngapError | None:
        """Return the error that ended the session early."""
        ...


async def run_request(
    request: Request,
    corpus: Corpus,
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
    judge: Judge | None = None,
    place: RunSession | None = None,
) -> FinishedRun:
    """Run `request`. Setting `stop` ends it early: calls hang up, and the finished turns are kept.

    `judge` makes the verdict, by default `gate.judge_run` with the request's budget; `place` places the calls, by
    default `run_session`. Where the task is cancelled, the `CancelledError` has a message: what is kept, and how to
    resume.

    Raises:
        UsageError: the port for spans is in use.
        AgentError: there is no agent at the request's URL; no folder is left.
        HarnessError: the run's folder can't be written.
    """
    agent_run = await open_run(request, corpus, clock)
    path = agent_run.folder.path
    session = Session(
        agent_runs=[agent_run],
        calls=[AssignedCall(agent_run, call) for call in request.missing],
        slots=request.simultaneous_calls,
        sentinel_log=path / store.SENTINEL,
        interrupted="the run was interrupted; its finished turns are kept: "
        f"resume it with `{store.resume_command(path)}`",
    )
    try:
        error = await (place or run_session)(session, corpus, display, clock=clock, stop=stop)
        if isinstance(error, AgentError) and request.url is not None and agent_run.is_empty:
            remove_empty_folders(session.agent_runs)
            raise error
        record = close_run(agent_run, corpus.clips, clock, judge=judge)
        return FinishedRun(record, agent_run.folder, error, interrupted=stop.is_set())
    finally:
        agent_run.unlock()


async def run_session(
    session: Session, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> TurngapError | None:
    """Calibrate, start the agents, and place the calls beside one sentinel; the runs' progress has the results.

    Returns the error that ended the session early; it is also recorded in `Progress`.

    Raises:
        UsageError: the port for spans is in use; folders of runs without turns are removed.
    """
    if repeats := describe_repeats(session.agent_runs[0].request.missing):
        display.show_message(repeats)
    try:
        with raised_priority() as priority:
            for agent_run in session.agent_runs:
                agent_run.record.environment["caller_priority"] = priority
            await _measure(session, corpus, display, clock=clock, stop=stop)
    except UsageError:
        remove_empty_folders(session.agent_runs)
        raise
    except asyncio.CancelledError:
        folders_remain = not remove_empty_folders(session.agent_runs)
        raise asyncio.CancelledError(session.interrupted if folders_remain else NOTHING_KEPT) from None
    except TurngapError as error:
        for agent_run in session.agent_runs:
            agent_run.progress.errors.append(str(error))
        return error
    return None


async def calibrate_instrument(
    display: ProgressDisplay, *, clock: Clock, scheduler: Scheduler, seed: int = 1
) -> Calibration:
    """Run the short calibration that precedes every run.

    Raises:
        HarnessError: the reference agent did not start.
    """
    display.show_message("calibrating the instrument")
    return await calibrate(
        [CALIBRATION_MS], CALIBRATION_TURNS, clock=clock, scheduler=scheduler, seed=seed, calls=CALIBRATION_CALLS
    )


def remove_empty_folders(agent_runs: Sequence[AgentRun]) -> bool:
    """Remove the folders of the runs if none of them has a turn; return whether they were removed."""
    if not all(agent_run.is_empty for agent_run in agent_runs):
        return False
    for agent_run in agent_runs:
        shutil.rmtree(agent_run.folder.path, ignore_errors=True)
        if agent_run.entry is not None:
            agent_run.entry.close_without_turns("no turn was measured")
    return True


async def _measure(
    session: Session, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> None:
    """Calibrate, start everything, place the calls; the records then describe the agents and GPUs."""
    seed = session.agent_runs[0].request.seed

    async def calibrate_first() -> None:
        calibration = await calibrate_instrument(display, clock=clock, scheduler=scheduler, seed=seed)
        for agent_run in session.agent_runs:
            agent_run.progress.calibration = calibration

    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(Scheduler(clock).running())
        scorer = await stack.enter_async_context(ScoringProcess.running())
        processes = await stack.enter_async_context(
            start_agents(session.agent_runs, display.show_message, calibrate_first)
        )
        for agent_run in session.agent_runs:
            own = processes[agent_run.name]
            agent_run.record = run_record.with_agent(agent_run.record, own.agent.ready, own.sampler)
            agent_run.folder.write(agent_run.record)
        callers = None
        if session.caller_processes > 1:
            running = CallerProcesses.running(session.caller_processes, corpus.clips, clock=clock)
            callers = await stack.enter_async_context(running)
        ready_s = clock.now_ns() / 1e9
        slots = CallSlots(
            calls=session.calls,
            processes=processes,
            scorer=scorer,
            slots=session.slots,
            corpus=corpus,
            clock=clock,
            scheduler=scheduler,
            stop=stop,
            show_turn=display.show_turn,
            show_message=display.show_message,
            interrupted=session.interrupted,
            arrange=session.arrange,
            on_call=session.on_call,
            callers=callers,
            observer=session.observer,
        )
        display.show_start(sum(len(assigned.call.scored_turns) for assigned in session.calls))
        watch: Sentinel | None = None
        try:
            async with run_sentinel(
                clock=clock,
                scheduler=scheduler,
                seed=seed,
                log=session.sentinel_log,
                boot_id=tracing.read_boot_id(),
            ) as watch:
                await slots.place_all()
        finally:
            session.caller_loads.extend(slots.loads)
            await _record_agents(session.agent_runs, processes, watch)
    for agent_run in session.agent_runs:
        machine_record.record_gpus(agent_run, processes[agent_run.name], ready_s)
        machine_record.record_health(agent_run, processes[agent_run.name])
        if len(session.agent_runs) == 1:  # the machine's energy is not that of one of several agents
            machine_record.record_energy(agent_run, processes[agent_run.name], ready_s)


async def _record_agents(
    agent_runs: Sequence[AgentRun], processes: Mapping[str, AgentProcesses], watch: Sentinel | None
) -> None:
    """Record what the agents' metrics pages say while they run, and the sentinel's errors."""
    for agent_run in agent_runs:
        agent = await agent_metrics.read_metrics(processes[agent_run.name].agent, agent_run.record.agent)
        agent_run.record = agent_run.record.model_copy(update={"agent": agent})
        agent_run.progress.sentinel = watch.errors(agent_run.progress.turns) if watch is not None else None
