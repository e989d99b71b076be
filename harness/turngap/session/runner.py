"""One session of the instrument: the rig is set up, calls are placed and settled, and the verdicts are written.

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
from turngap.session.agent_run import Dealt, Subject
from turngap.session.calls import Lanes
from turngap.session.plan import Request
from turngap.session.rigs import standing
from turngap.session.run_record import Progress
from turngap.store import folder as store
from turngap.store import recording
from turngap.store.folder import RunFolder
from turngap.verdict import gate
from turngap.verdict.gate import Evidence, Judgement

CALIBRATION_MS, CALIBRATION_TURNS = 300.0, 10
"""The brief calibration before every run."""
Judge = Callable[[Sequence[TurnRecord], Evidence], Judgement]


class Audience(Protocol):
    """Who is told how the run goes."""

    def says(self, text: str) -> None:
        """One line of news."""
        ...

    def begins(self, turns: int) -> None:
        """Calls begin; so many turns are to be scored."""
        ...

    def turn(self, turn: TurnRecord, setting: str = "") -> None:
        """A turn was settled, warm-up or not; under the named setting where there are several."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, by itself or not."""

    record: RunRecord
    folder: RunFolder
    error: TurngapError | None = None
    """What ended it before its time; it stands in the record too."""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """What one session of the instrument measures."""

    subjects: Sequence[Subject]
    dealt: Sequence[Dealt]
    at_once: int
    """Calls that go on at the same time, warm-up calls apart."""
    sentinel_log: Path
    """Where the sentinel's measurements are kept, for when the rest is made later."""
    interrupted: str
    """The line for where the user ended it."""


async def run(
    request: Request,
    corpus: Corpus,
    audience: Audience,
    *,
    clock: Clock,
    stop: asyncio.Event,
    judge: Judge | None = None,
) -> Finished:
    """Do what `request` asks; setting `stop` ends it politely, with the turns that are finished kept.

    `judge` gives the verdict: by default `gate.judge` with the request's budget.

    Raises:
        UsageError: the port for spans is in use.
        HarnessError: the run's folder can't be written.
    """
    subject = await enter(request, corpus, clock)
    interrupted = "the run was interrupted; the finished turns are kept, and"
    session = Session(
        subjects=[subject],
        dealt=[Dealt(subject, call) for call in request.missing],
        at_once=request.simultaneous_calls,
        sentinel_log=subject.folder.path / store.SENTINEL,
        interrupted=f"{interrupted} `turngap run --resume {subject.folder.path}` completes it",
    )
    error = await attend(session, corpus, audience, clock=clock, stop=stop)
    record = conclude(subject, corpus, clock, judge=judge)
    return Finished(record, subject.folder, error, interrupted=stop.is_set())


async def attend(
    session: Session, corpus: Corpus, audience: Audience, *, clock: Clock, stop: asyncio.Event
) -> TurngapError | None:
    """Calibrate, start the agents, place the calls beside one sentinel; all of it is in the subjects' books then.

    Gives what ended it before its time; it stands in the books too.

    Raises:
        UsageError: the port for spans is in use; where nothing had been measured, the folders are gone.
    """
    try:
        with ahead() as place:
            for subject in session.subjects:
                subject.opening.environment["caller_priority"] = place
            await _measure(session, corpus, audience, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError):
        if not any(subject.request.resumed or subject.progress.turns for subject in session.subjects):
            for subject in session.subjects:
                shutil.rmtree(subject.folder.path, ignore_errors=True)  # nothing happened that is worth a folder
        raise
    except TurngapError as fault:
        for subject in session.subjects:
            subject.progress.faults.append(str(fault))
        return fault
    return None


async def enter(
    request: Request, corpus: Corpus, clock: Clock, *, name: str = "", folder_name: str | None = None
) -> Subject:
    """The subject of a request, its books opened: its run's folder with `run.json`, a new one or the one resumed.

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
    return Subject(request, folder, opening, progress, clock.now_ns(), name)


def conclude(subject: Subject, corpus: Corpus, clock: Clock, *, judge: Judge | None = None) -> RunRecord:
    """Close the subject's books: judge its turns, keep the recordings worth hearing, write `run.json`.

    Raises:
        HarnessError: the folder can't be written.
    """
    request, folder, progress, opening = subject.request, subject.folder, subject.progress, subject.opening
    turns = recording.keep(folder.path, sorted(progress.turns, key=lambda turn: (turn.call, turn.turn)))
    progress.turns = list(turns)
    verdict = judge or partial(gate.judge, budget=request.budget)
    record = run_record.closed(
        opening.model_copy(update={"duration_s": opening.duration_s + (clock.now_ns() - subject.began_ns) / 1e9}),
        folder,
        progress,
        verdict(turns, run_record.evidence(request, folder, progress)),
        sources={key: clip.source for key, clip in corpus.clips.items()},
    )
    folder.replace_turns(turns)
    folder.write(record)
    recording.discard(folder.path, folder.path / store.CALLS, turns)
    return record


async def _measure(session: Session, corpus: Corpus, audience: Audience, *, clock: Clock, stop: asyncio.Event) -> None:
    """Calibrate, set up, place the calls beside the sentinel; the books then know of agents and GPUs."""
    subjects, dealt = session.subjects, session.dealt

    async def before_agents() -> None:
        audience.says("calibrating the instrument")
        found = await calibrate(
            [CALIBRATION_MS],
            CALIBRATION_TURNS,
            clock=clock,
            scheduler=scheduler,
            seed=subjects[0].request.seed,
            calls=5,
        )
        for subject in subjects:
            subject.progress.calibration = found

    async with (
        Scheduler(clock).running() as scheduler,
        standing(subjects, before_agents, audience.says) as rigs,
    ):
        for subject, rig in zip(subjects, rigs, strict=True):
            subject.opening = run_record.with_rig(subject.opening, rig.agent.ready, rig.sampler)
            subject.folder.write(subject.opening)
        by_subject = {id(subject): rig for subject, rig in zip(subjects, rigs, strict=True)}
        lanes = Lanes(
            dealt, by_subject, session.at_once, corpus, clock, scheduler, stop, audience.turn, session.interrupted
        )
        audience.begins(sum(len(one.call.turns) for one in dealt if not one.call.warm_up))
        watch = None
        try:
            async with sentinel(
                clock=clock,
                scheduler=scheduler,
                seed=subjects[0].request.seed,
                log=session.sentinel_log,
                boot_id=tracing.read_boot_id(),
            ) as watch:
                await lanes.place_all()
        finally:
            for subject, rig in zip(subjects, rigs, strict=True):
                agent = await agent_metrics.asked(rig.agent, subject.opening.agent)
                subject.opening = subject.opening.model_copy(update={"agent": agent})
                subject.progress.sentinel = watch.errors(subject.progress.turns) if watch is not None else None
    for subject, rig in zip(subjects, rigs, strict=True):
        subject.progress.notes += rig.receiver.remarks()
        samples, used = subject.folder.path / store.GPU, rig.agent.ready.gpu
        gpus = gpu_log.figures(rig.sampler.gpus, samples, used.uuid if used is not None else None)
        if used is not None:
            sees_all = rig.sampler.gpu_processes == "all"
            turns, devices = subject.progress.turns, rig.sampler.gpus
            subject.progress.vram_peak_mib = gpu_log.peak_mib(devices, samples, used.uuid)
            seen = gpu_log.watch(samples, turns, devices, used.uuid, sees_all=sees_all)
            told = {"external_llm": used.external_llm}
            subject.progress.gpu_watch = None if seen is None else seen.model_copy(update=told)
        subject.opening = subject.opening.model_copy(update={"gpus": gpus})


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
