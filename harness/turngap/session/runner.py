"""One session of the instrument: the processes is set up, calls are placed and settled, and the verdicts are written.

A run has one agent under test; where there are several, each has a run of its own, and they share instrument, corpus,
calibration and sentinel.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from turngap_agent import tracing
from turngap_agent.errors import TurngapError, UsageError

from turngap.calibration.calibrate import calibrate
from turngap.calibration.sentinel import sentinel
from turngap.caller.priority import ahead
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.processes import environment, gpu_log
from turngap.session import agent_metrics, network_plan, reply_scripts, run_record
from turngap.session.agent_processes import start_agents
from turngap.session.agent_run import AgentRun, AssignedCall
from turngap.session.call_slots import CallSlots
from turngap.session.plan import Request
from turngap.session.run_record import Progress
from turngap.store import folder as store
from turngap.store import recording
from turngap.store.folder import RunFolder
from turngap.verdict import gate
from turngap.verdict.gate import Evidence, Judgement

CALIBRATION_MS, CALIBRATION_TURNS = 300.0, 10
"""The brief calibration before every run."""
Judge = Callable[[Sequence[TurnRecord], Evidence], Judgement]


class ProgressDisplay(Protocol):
    """Who is told how the run goes."""

    def show_message(self, text: str) -> None:
        """One line of news."""
        ...

    def show_start(self, turns: int) -> None:
        """Calls begin; so many turns are to be scored."""
        ...

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        """A turn was settled, warm-up or not; under the named setting where there are several."""
        ...


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended, by itself or not."""

    record: RunRecord
    folder: RunFolder
    error: TurngapError | None = None
    """What ended it before its time; it stands in the record too."""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """What one session of the instrument measures."""

    agent_runs: Sequence[AgentRun]
    calls: Sequence[AssignedCall]
    at_once: int
    """Calls that go on at the same time, warm-up calls apart."""
    sentinel_log: Path
    """Where the sentinel's measurements are kept, for when the rest is made later."""
    interrupted: str
    """The line for where the user ended it."""


async def run_request(
    request: Request,
    corpus: Corpus,
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
    judge: Judge | None = None,
) -> FinishedRun:
    """Do what `request` asks; setting `stop` ends it politely, with the turns that are finished kept.

    `judge` gives the verdict: by default `gate.judge` with the request's budget.

    Raises:
        UsageError: the port for spans is in use.
        HarnessError: the run's folder can't be written.
    """
    agent_run = await open_run(request, corpus, clock)
    interrupted = "the run was interrupted; the finished turns are kept, and"
    session = Session(
        agent_runs=[agent_run],
        calls=[AssignedCall(agent_run, call) for call in request.missing],
        at_once=request.simultaneous_calls,
        sentinel_log=agent_run.folder.path / store.SENTINEL,
        interrupted=f"{interrupted} `turngap run --resume {agent_run.folder.path}` completes it",
    )
    error = await run_session(session, corpus, display, clock=clock, stop=stop)
    record = close_run(agent_run, corpus, clock, judge=judge)
    return FinishedRun(record, agent_run.folder, error, interrupted=stop.is_set())


async def run_session(
    session: Session, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> TurngapError | None:
    """Calibrate, start the agents, place the calls beside one sentinel; all of it is in the agent_runs' books then.

    Gives what ended it before its time; it stands in the books too.

    Raises:
        UsageError: the port for spans is in use; where nothing had been measured, the folders are gone.
    """
    try:
        with ahead() as place:
            for agent_run in session.agent_runs:
                agent_run.opening.environment["caller_priority"] = place
            await _measure(session, corpus, display, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError):
        if not any(agent_run.request.resumed or agent_run.progress.turns for agent_run in session.agent_runs):
            for agent_run in session.agent_runs:
                shutil.rmtree(agent_run.folder.path, ignore_errors=True)  # nothing happened that is worth a folder
        raise
    except TurngapError as fault:
        for agent_run in session.agent_runs:
            agent_run.progress.faults.append(str(fault))
        return fault
    return None


async def open_run(
    request: Request, corpus: Corpus, clock: Clock, *, name: str = "", folder_name: str | None = None
) -> AgentRun:
    """The agent_run of a request, its books opened: its run's folder with `run.json`, a new one or the one resumed.

    `name` tells it from others; `folder_name` is the folder's in place of one made of time, scenario and profile.

    Raises:
        HarnessError: the folder can't be written.
    """
    progress = Progress(notes=list(corpus.notes))
    if request.options.inject:
        progress.notes.append(f"delays were put into the agent on purpose: {', '.join(request.options.inject)}")
    if changed := request.scenario.overrides(request.profile_name):
        keys = ", ".join(one.partition("=")[0] for one in changed)
        progress.notes.append(f"the scenario changes the profile: {keys}")
    progress.notes += network_plan.notes(request.networks)
    if request.profile is not None and request.profile.weightless:
        progress.notes.append(reply_scripts.NOTE)
    opening, folder = await _open(request, clock, progress, folder_name)
    return AgentRun(request, folder, opening, progress, clock.now_ns(), name)


def close_run(agent_run: AgentRun, corpus: Corpus, clock: Clock, *, judge: Judge | None = None) -> RunRecord:
    """Close the agent_run's books: judge its turns, keep the recordings worth hearing, write `run.json`.

    Raises:
        HarnessError: the folder can't be written.
    """
    request, folder, progress, opening = agent_run.request, agent_run.folder, agent_run.progress, agent_run.opening
    turns = recording.keep(folder.path, sorted(progress.turns, key=lambda turn: (turn.call, turn.turn)))
    progress.turns = list(turns)
    verdict = judge or partial(gate.judge_run, budget=request.budget)
    record = run_record.closed(
        opening.model_copy(update={"duration_s": opening.duration_s + (clock.now_ns() - agent_run.began_ns) / 1e9}),
        folder,
        progress,
        verdict(turns, run_record.evidence(request, folder, progress)),
        sources={key: clip.source for key, clip in corpus.clips.items()},
    )
    folder.replace_turns(turns)
    folder.write(record)
    recording.discard(folder.path, folder.path / store.CALLS, turns)
    return record


async def _measure(
    session: Session, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> None:
    """Calibrate, set up, place the calls beside the sentinel; the books then know of agents and GPUs."""
    agent_runs, calls = session.agent_runs, session.calls

    async def before_agents() -> None:
        display.show_message("calibrating the instrument")
        found = await calibrate(
            [CALIBRATION_MS],
            CALIBRATION_TURNS,
            clock=clock,
            scheduler=scheduler,
            seed=agent_runs[0].request.seed,
            calls=5,
        )
        for agent_run in agent_runs:
            agent_run.progress.calibration = found

    async with (
        Scheduler(clock).running() as scheduler,
        start_agents(agent_runs, before_agents, display.show_message) as all_processes,
    ):
        for agent_run, processes in zip(agent_runs, all_processes, strict=True):
            agent_run.opening = run_record.with_agent(agent_run.opening, processes.agent.ready, processes.sampler)
            agent_run.folder.write(agent_run.opening)
        by_subject = {id(agent_run): processes for agent_run, processes in zip(agent_runs, all_processes, strict=True)}
        lanes = CallSlots(
            calls, by_subject, session.at_once, corpus, clock, scheduler, stop, display.show_turn, session.interrupted
        )
        display.show_start(sum(len(one.call.turns) for one in calls if not one.call.warm_up))
        watch = None
        try:
            async with sentinel(
                clock=clock,
                scheduler=scheduler,
                seed=agent_runs[0].request.seed,
                log=session.sentinel_log,
                boot_id=tracing.read_boot_id(),
            ) as watch:
                await lanes.place_all()
        finally:
            for agent_run, processes in zip(agent_runs, all_processes, strict=True):
                agent = await agent_metrics.asked(processes.agent, agent_run.opening.agent)
                agent_run.opening = agent_run.opening.model_copy(update={"agent": agent})
                agent_run.progress.sentinel = watch.errors(agent_run.progress.turns) if watch is not None else None
    for agent_run, processes in zip(agent_runs, all_processes, strict=True):
        agent_run.progress.notes += processes.receiver.remarks()
        samples, used = agent_run.folder.path / store.GPU, processes.agent.ready.gpu
        gpus = gpu_log.figures(processes.sampler.gpus, samples, used.uuid if used is not None else None)
        if used is not None:
            sees_all = processes.sampler.gpu_processes == "all"
            turns, devices = agent_run.progress.turns, processes.sampler.gpus
            agent_run.progress.vram_peak_mib = gpu_log.peak_mib(devices, samples, used.uuid)
            seen = gpu_log.watch(samples, turns, devices, used.uuid, sees_all=sees_all)
            told = {"external_llm": used.external_llm}
            agent_run.progress.gpu_watch = None if seen is None else seen.model_copy(update=told)
        agent_run.opening = agent_run.opening.model_copy(update={"gpus": gpus})


async def _open(
    request: Request, clock: Clock, progress: Progress, folder_name: str | None
) -> tuple[RunRecord, RunFolder]:
    """The run's folder with its `run.json`: a new one, or the one that is resumed."""
    surroundings = environment.gather()
    surroundings["timer_late_p99_ms"] = await environment.timer_late_p99_ms(clock)
    surroundings |= {"agent_nice": request.options.agent_nice, "inject": list(request.options.inject)}
    opening = run_record.opened(request, surroundings, clock.unix_ns())
    if request.resumed is None:
        folder = RunFolder.create(request.options.out, folder_name or opening.run_id, opening, request.scenario_text)
        return opening.model_copy(update={"run_id": folder.path.name}), folder
    before = request.resumed.record
    folder = RunFolder(request.resumed.path)
    folder.mend()
    progress.turns = list(request.resumed.turns)
    progress.notes += [*request.resumed.notes, f"resumed {opening.started}; lateness is that of the calls since then"]
    kept = {"run_id": before.run_id, "started": before.started, "duration_s": before.duration_s, "notes": before.notes}
    return opening.model_copy(update=kept), folder
