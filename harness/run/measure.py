"""One run: the rig is set up, calls are placed in their order, each is settled, and the verdict is written."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from harness.calibration.calibrate import calibrate
from harness.calibration.sentinel import sentinel
from harness.caller.priority import ahead
from harness.caller.scheduler import Scheduler
from harness.clock import Clock
from harness.corpus.clips import Corpus
from harness.result import RunRecord
from harness.rig import environment, gpu
from harness.run import ledger
from harness.run.lanes import Lanes
from harness.run.ledger import Progress
from harness.run.request import Request
from harness.run.standing import loop_lag_p99_ms, standing
from harness.store import folder as store
from harness.store import recording
from harness.store.folder import RunFolder
from harness.turn import TurnRecord
from harness.verdict import gate
from harness.verdict.gate import Evidence, Judgement
from pipeline.errors import TurngapError, UsageError

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

    def turn(self, turn: TurnRecord) -> None:
        """A turn was settled, warm-up or not."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, by itself or not."""

    record: RunRecord
    folder: RunFolder
    error: TurngapError | None = None
    """What ended it before its time; it stands in the record too."""
    interrupted: bool = False


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
    began_ns = clock.now_ns()
    progress = Progress(notes=list(corpus.notes))
    if request.options.inject:
        progress.notes.append(f"delays were put into the agent on purpose: {', '.join(request.options.inject)}")
    opening, folder = await _open(request, clock, progress)
    error: TurngapError | None = None
    try:
        with ahead() as place:
            opening.environment["caller_priority"] = place
            opening = await _measure(request, corpus, audience, opening, folder, progress, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError):
        if request.resumed is None and not progress.turns:
            shutil.rmtree(folder.path, ignore_errors=True)  # nothing happened that is worth a folder
        raise
    except TurngapError as fault:
        error = fault
        progress.faults.append(str(fault))
    turns = recording.keep(folder.path, sorted(progress.turns, key=lambda turn: (turn.call, turn.turn)))
    progress.turns = list(turns)
    verdict = judge or partial(gate.judge, budget=request.budget)
    record = ledger.closed(
        opening.model_copy(update={"duration_s": opening.duration_s + (clock.now_ns() - began_ns) / 1e9}),
        folder,
        progress,
        verdict(turns, ledger.evidence(request, folder, progress)),
        sources={key: clip.source for key, clip in corpus.clips.items()},
    )
    folder.replace_turns(turns)
    folder.write(record)
    recording.discard(folder.path, folder.path / store.CALLS, turns)
    return Finished(record, folder, error, interrupted=stop.is_set())


async def _measure(
    request: Request,
    corpus: Corpus,
    audience: Audience,
    opening: RunRecord,
    folder: RunFolder,
    progress: Progress,
    *,
    clock: Clock,
    stop: asyncio.Event,
) -> RunRecord:
    """Calibrate, set up, place the calls beside the sentinel; gives the record with what is known of agent and GPUs."""

    async def before_agent() -> None:
        audience.says("calibrating the instrument")
        progress.calibration = await calibrate(
            [CALIBRATION_MS], CALIBRATION_TURNS, clock=clock, scheduler=scheduler, seed=request.seed, calls=5
        )
        audience.says(f"starting the agent, profile {request.profile_name}" if request.url is None else request.url)

    async with Scheduler(clock).running() as scheduler, standing(request, folder, before_agent) as rig:
        opening = ledger.with_rig(opening, rig)
        folder.write(opening)
        if rig.agent.ours:
            audience.says(f"agent ready in {rig.agent.ready.ready_s or 0:.1f} s")
        lanes = Lanes(request, corpus, rig, folder, progress, clock, scheduler, stop, audience.turn)
        audience.begins(sum(len(call.turns) for call in request.missing if not call.warm_up))
        watch = None
        try:
            log = folder.path / store.SENTINEL
            async with sentinel(clock=clock, scheduler=scheduler, seed=request.seed, log=log) as watch:
                await lanes.place_all()
        finally:
            lag_ms = await loop_lag_p99_ms(rig.agent)
            progress.sentinel = watch.errors(progress.turns) if watch is not None else None
        agent = opening.agent.model_copy(update={"loop_lag_p99_ms": lag_ms})
        devices = rig.sampler.gpus
    progress.notes += rig.receiver.remarks()
    return opening.model_copy(update={"agent": agent, "gpus": gpu.figures(devices, folder.path / store.GPU)})


async def _open(request: Request, clock: Clock, progress: Progress) -> tuple[RunRecord, RunFolder]:
    """The run's folder with its `run.json`: a new one, or the one that is resumed."""
    surroundings = environment.gather()
    surroundings["timer_late_p99_ms"] = await environment.timer_late_p99_ms(clock)
    surroundings |= {"agent_nice": request.options.agent_nice, "inject": list(request.options.inject)}
    opening = ledger.opened(request, surroundings, clock.unix_ns())
    if request.resumed is None:
        folder = RunFolder.create(request.options.out, opening.run_id, opening)
        return opening.model_copy(update={"run_id": folder.path.name}), folder
    before = request.resumed.record
    folder = RunFolder(request.resumed.path)
    folder.mend()
    progress.turns = list(request.resumed.turns)
    progress.notes += [*request.resumed.notes, f"resumed {opening.started}; lateness is that of the calls since then"]
    kept = {"run_id": before.run_id, "started": before.started, "duration_s": before.duration_s, "notes": before.notes}
    return opening.model_copy(update=kept), folder
