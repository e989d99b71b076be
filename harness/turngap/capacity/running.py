"""Runs a capacity run: one point after the other, each a run with an agent of its own under an open-loop load."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from turngap_agent import tracing
from turngap_agent.errors import AgentError, TurngapError

from turngap.caller.connection_errors import check_listening
from turngap.capacity import folder
from turngap.capacity.arrangement import Arrangement
from turngap.capacity.arrivals import NS_PER_S, ArrivalPlan, Load, plan_arrivals
from turngap.capacity.call_log import LoadedCall, append_call
from turngap.capacity.figures import CallerUse, PointFacts, make_point
from turngap.capacity.folder import CapacityRecord
from turngap.capacity.judgement import judge_loaded_run
from turngap.capacity.knee import find_knee
from turngap.capacity.lengths import CallLengths
from turngap.capacity.plan import CapacityRequest, PlannedPoint, plan_point
from turngap.capacity.points import PointRecord
from turngap.capacity.resources import read_resources
from turngap.capacity.search import Search, Step
from turngap.capacity.wording import describe_point, describe_result, describe_stop
from turngap.clock import Clock, SystemClock
from turngap.corpus.clips import Corpus
from turngap.model.records import CallRecord
from turngap.processes import environment
from turngap.processes.caller_processes import count_processes
from turngap.scenario import PlannedCall
from turngap.session import runner
from turngap.session.agent_run import AgentRun, AssignedCall, close_run, open_run
from turngap.session.runner import ProgressDisplay, RunSession, Session
from turngap.session.timed_calls import TimedCall
from turngap.store import folder as store
from turngap.store.disk import FolderLock


@dataclass(frozen=True, slots=True)
class FinishedCapacity:
    """A capacity run that has ended, complete or not."""

    record: CapacityRecord
    path: Path
    error: TurngapError | None = None
    """What ended it early; the record states it too."""
    interrupted: bool = False


async def run_capacity(
    request: CapacityRequest,
    corpus: Corpus,
    display: ProgressDisplay,
    *,
    clock: Clock,
    stop: asyncio.Event,
    place: RunSession = runner.run_session,
) -> FinishedCapacity:
    """Measure the points. Setting `stop` ends it early: calls hang up, finished points are kept.

    `place` places the calls of each point.

    Raises:
        UsageError: the port for spans is in use, or no folder can be made.
        AgentError: nothing listens at the URL; no folder is left.
        HarnessError: a folder can't be written.
    """
    base = request.base
    if base.url is not None:
        await check_listening(base.url, base.dialect)
    path, record, lock = _make_folder(request, corpus, clock)
    run = _CapacityRun(request, corpus, display, clock, stop, path, record, lock, CallLengths(corpus.clips), place)
    try:
        return await run.measure()
    except BaseException:
        run.remove_if_empty()
        raise
    finally:
        lock.release()


@dataclass(slots=True)
class _CapacityRun:
    request: CapacityRequest
    corpus: Corpus
    display: ProgressDisplay
    clock: Clock
    stop: asyncio.Event
    path: Path
    record: CapacityRecord
    lock: FolderLock
    lengths: CallLengths
    place: RunSession
    error: TurngapError | None = None

    async def measure(self) -> FinishedCapacity:
        """Measure point after point until all are measured, or one says that more load makes no sense."""
        stopped = ""
        if self.request.searches:
            await self._search()
        else:
            for place, load in enumerate(self.request.loads):
                point = await self._measure_point(load)
                if point is None:
                    break
                left = self.request.loads[place + 1 :]
                if left and point.saturated and not self.request.goes_on:
                    stopped = describe_stop(point, left)
                    self.display.show_message(stopped)
                    break
        interrupted = self.stop.is_set()
        complete = self.error is None and not interrupted
        self.record = self.record.model_copy(update={"complete": complete, "stopped": stopped})
        self._write()
        return FinishedCapacity(self.record, self.path, self.error, interrupted)

    def remove_if_empty(self) -> None:
        """Remove the folder if no point has a run in it."""
        if not any((child / store.RUN).is_file() for child in self.path.iterdir() if child.is_dir()):
            shutil.rmtree(self.path, ignore_errors=True)

    async def _search(self) -> None:
        budget = self.request.judged
        assert budget is not None
        level = max(limit.level for limit in budget.limits)
        search = Search(self.request.first, self.request.ceiling, level)
        while (calls := search.next_calls()) is not None:
            attempt = 1 + sum(step.calls == calls for step in search.steps)
            point = await self._measure_point(Load(calls=calls), attempt)
            if point is None:
                break
            sentence = "; ".join(point.caller.reasons) or point.sentence
            search.add(Step(calls=calls, decision=point.decision, sentence=sentence, turns=point.n_turns))
            answer = search.answer(budget.name) if search.next_calls() is None else None
            self.record = self.record.model_copy(update={"steps": tuple(search.steps), "answer": answer})
            self._write()
            self.display.show_message(f"step {len(search.steps)}: {calls} at once: {point.decision}")

    async def _measure_point(self, load: Load, attempt: int = 1) -> PointRecord | None:
        """Measure a point and record it; None where an error or the user ended it."""
        planned = plan_point(self.request, load, self.corpus, self.lengths)
        self.display.show_message(describe_point(planned.load, planned.call_s, planned.request.planned_turns))
        run = await _start_point(planned, self.path, self.corpus, self.clock, _slug(load, attempt))
        measured = _Measurement(planned, self.request, self.lengths, self.clock, first=self.record.answered_s is None)
        try:
            self.error = await self.place(
                measured.make_session(run, self._interrupted()),
                self.corpus,
                self.display,
                clock=self.clock,
                stop=self.stop,
            )
            if isinstance(self.error, AgentError) and run.request.url is not None and run.is_empty:
                runner.remove_empty_folders([run])
                raise self.error
            judge = partial(judge_loaded_run, budget=planned.request.budget, plan=run.record.stopping_plan)
            run.record = close_run(run, self.corpus.clips, self.clock, judge=judge)
        finally:
            run.unlock()
        if self.error is not None:
            self.record = self.record.model_copy(update={"errors": (str(self.error),)})
            return None
        point = make_point(measured.collect_facts(run, load, attempt), self._lowest_p95_ms())
        self._add(point)
        if self.record.answered_s is None and point.is_valid and not point.saturated:
            self.lengths = self.lengths.corrected(measured.list_lengths())
            known = {"answered_s": self.lengths.answered_s, "probed_s": self.lengths.probed_s}
            self.record = self.record.model_copy(update=known)
        self._write()
        return point

    def _add(self, point: PointRecord) -> None:
        points = (*self.record.points, point)
        self.record = self.record.model_copy(update={"points": points, "knee": find_knee(points)})

    def _write(self) -> None:
        self.record = self.record.model_copy(update={"sentence": describe_result(self.record)})
        folder.write_capacity(self.path, self.record)

    def _lowest_p95_ms(self) -> float | None:
        known = [point for point in self.record.points if point.is_valid]
        return min(known, key=lambda point: point.load).gap_ms.p95 if known else None

    def _interrupted(self) -> str:
        return f"the capacity run was interrupted; its finished points are kept in {self.path}"


@dataclass(slots=True)
class _Measurement:
    """What is collected while the calls of one point are placed."""

    planned: PlannedPoint
    request: CapacityRequest
    lengths: CallLengths
    clock: Clock
    first: bool
    """No load has told yet how long calls are."""
    arrangement: Arrangement = field(init=False)
    calls: list[LoadedCall] = field(default_factory=list)
    session: Session | None = None
    _folder: Path = field(default=Path(), init=False)
    _warm_up_s: list[tuple[PlannedCall, float]] = field(default_factory=list, init=False)
    """Warm-up calls and their lengths, in their order."""
    _cpu_s: tuple[float, float] | None = field(default=None, init=False)
    """CPU time of this process, spinning left out, when the load began and when the last call ended."""

    def __post_init__(self) -> None:
        """Plan the moments of the calls."""
        warm_up = next(call for call in self.planned.request.calls if call.warm_up)
        self.arrangement = Arrangement(self._plan_round, warm_up)

    def make_session(self, run: AgentRun, interrupted: str) -> Session:
        """Return the session of the point's run."""
        self._folder = run.folder.path
        calls = [
            AssignedCall(run, call)
            for call in self.planned.request.calls
            if self.request.shape.warm or not call.warm_up
        ]
        request = self.planned.request
        cpus = len(os.sched_getaffinity(0))
        self.session = Session(
            agent_runs=[run],
            calls=calls,
            slots=request.simultaneous_calls,
            sentinel_log=run.folder.path / store.SENTINEL,
            interrupted=interrupted,
            arrange=self._arrange,
            on_call=self._add_call,
            caller_processes=self.request.callers or count_processes(request.scenario.simultaneous_calls, cpus),
        )
        return self.session

    def collect_facts(self, run: AgentRun, load: Load, attempt: int) -> PointFacts:
        """Return what is known of the point, once its run is closed."""
        calls = sorted(self.calls, key=lambda call: call.planned_ns)
        scored = [call for call in calls if not call.is_bystander] or calls
        from_s = min((call.planned_ns for call in scored), default=0) / NS_PER_S
        to_s = max((call.ended_ns for call in scored), default=0) / NS_PER_S
        gpu = next((each.number for each in run.record.gpus or ()), None) if run.record.agent.gpu is not None else None
        return PointFacts(
            name=str(load) if attempt == 1 else f"{load}, again",
            slug=run.folder.path.name,
            load=load,
            shape=self.request.shape,
            attempt=attempt,
            call_s=self._mean_length_s(),
            shape_ns=self.arrangement.shape_ns,
            record=run.record,
            turns=run.progress.turns,
            calls=calls,
            resources=read_resources(run.folder.path, from_s, to_s, gpu=gpu, kv=run.record.agent.kv_cache),
            caller=self._caller_use(calls)
            if not run.record.callers
            else CallerUse(len(run.record.callers), None, None),
            metric=self.request.metric,
            budget_ms=self.request.budget_ms,
        )

    def list_lengths(self) -> list[tuple[PlannedCall, float]]:
        """Return the scored calls with their lengths, s."""
        planned = {call.index: call for call in self.planned.request.calls}
        return [
            (planned[call.index], (call.ended_ns - call.placed_ns) / NS_PER_S)
            for call in self.calls
            if call.index in planned and not call.is_bystander
        ]

    def _plan_round(self, calls: Sequence[PlannedCall], number: int) -> ArrivalPlan:
        if number == 1 and self.first and self.request.shape.is_steady:
            # The agent's very first call is cold, and longer than any other.
            self.lengths = self.lengths.corrected(self._warm_up_s[1:] or self._warm_up_s)
        elif number == 1:
            return self.planned.arrivals
        seed = f"{self.planned.request.seed}:{self.planned.load}" + ("" if number == 1 else f":{number}")
        lengths_s = [self.lengths.planned_s(call) for call in calls]
        return plan_arrivals(self.request.shape, self.planned.load, lengths_s, seed=seed)

    def _arrange(self, calls: Sequence[AssignedCall]) -> Sequence[TimedCall]:
        self._cpu_s = self._cpu_s or (self._busy_s(), self._busy_s())
        return self.arrangement.arrange(calls)

    def _add_call(self, record: CallRecord) -> None:
        call = LoadedCall.of(record, self.arrangement.find_phase(record))
        if call is None:
            warm_up = next((each for each in self.planned.request.calls if each.index == record.index), None)
            if warm_up is not None and record.opened_ns is not None:
                self._warm_up_s.append((warm_up, (record.ended_ns - record.opened_ns) / NS_PER_S))
            return
        self.calls.append(call)
        append_call(self._folder, call)
        if self._cpu_s is not None:
            self._cpu_s = (self._cpu_s[0], self._busy_s())

    def _caller_use(self, calls: Sequence[LoadedCall]) -> CallerUse:
        loads = self.session.caller_loads if self.session is not None else []
        if loads:
            cpu_s = sum(load.busy_share * load.wall_s for load in loads)
            return CallerUse(len({load.pid for load in loads}), max(load.busy_share for load in loads), cpu_s)
        if self._cpu_s is None or not calls:
            return CallerUse(1, None, None)
        used_s = self._cpu_s[1] - self._cpu_s[0]
        lasted_s = (max(call.ended_ns for call in calls) - min(call.planned_ns for call in calls)) / NS_PER_S
        return CallerUse(1, used_s / lasted_s if lasted_s > 0 else None, used_s)

    def _mean_length_s(self) -> float:
        scored = [call for call in self.planned.request.calls if not call.warm_up]
        return sum(map(self.lengths.planned_s, scored)) / len(scored)

    def _busy_s(self) -> float:
        """Return the CPU time of this process without what the clock spun away."""
        times = os.times()
        spun_ns = self.clock.spun_ns if isinstance(self.clock, SystemClock) else 0
        return times.user + times.system - spun_ns / NS_PER_S


async def _start_point(planned: PlannedPoint, path: Path, corpus: Corpus, clock: Clock, slug: str) -> AgentRun:
    request = replace(planned.request, options=replace(planned.request.options, out=path))
    return await open_run(request, corpus, clock, folder_name=slug)


def _make_folder(request: CapacityRequest, corpus: Corpus, clock: Clock) -> tuple[Path, CapacityRecord, FolderLock]:
    base = request.base
    started = datetime.fromtimestamp(clock.unix_ns() / 1e9, UTC)
    record = CapacityRecord(
        capacity_id=f"{started:%Y%m%dT%H%M%SZ}-capacity-{base.scenario.name}-{base.profile_name}",
        started=started.isoformat(timespec="seconds"),
        complete=False,
        scenario=base.scenario.name,
        scenario_path=str(base.scenario_path),
        scenario_sha256=base.scenario_sha256,
        profile=base.profile_name,
        url=base.url or "",
        seed=base.seed,
        turns=request.turns,
        budget=request.budget,
        judged=request.judged is not None,
        metric=request.metric,
        budget_ms=request.budget_ms,
        shape=request.shape,
        loads=tuple(float(load.calls or load.rate_per_s or 0) for load in request.loads),
        by_rate=any(load.rate_per_s is not None for load in request.loads),
        searches=request.searches,
        machine=environment.describe_machine() | {"boot_id": tracing.read_boot_id()},
        notes=corpus.notes,
    )
    return folder.create_folder(base.options.out, record, base.scenario_text)


def _slug(load: Load, attempt: int) -> str:
    name = f"{load.calls}-calls" if load.calls is not None else f"{load.rate_per_s:g}-a-second"
    return name if attempt == 1 else f"{name}-again"
