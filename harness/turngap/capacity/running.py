"""Runs a capacity run: one point after the other, each a run with an agent of its own under an open-loop load."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from turngap_agent import tracing
from turngap_agent.errors import AgentError, TurngapError

from turngap.capacity import folder
from turngap.capacity.arrivals import Load
from turngap.capacity.figures import make_point
from turngap.capacity.folder import CapacityRecord
from turngap.capacity.judgement import judge_loaded_run
from turngap.capacity.knee import find_knee
from turngap.capacity.lengths import CallLengths
from turngap.capacity.measurement import PointMeasurement
from turngap.capacity.plan import CapacityRequest, PlannedPoint, plan_point
from turngap.capacity.points import PointRecord
from turngap.capacity.search import Search, Step
from turngap.capacity.wording import describe_point, describe_result, describe_stop
from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.processes import environment
from turngap.session import runner
from turngap.session.agent_processes import check_reachable
from turngap.session.agent_run import AgentRun, close_run, open_run
from turngap.session.runner import ProgressDisplay, RunSession
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
        UsageError: a load cannot be planned, the port for spans is in use, or no folder can be made.
        AgentError: nothing listens at the URL; no folder is left.
        HarnessError: a folder can't be written.
    """
    base, lengths = request.base, CallLengths(corpus.clips)
    for load in request.loads:  # one that cannot be planned is refused before any call
        plan_point(request, load, corpus, lengths)
    if base.url is not None:
        await check_reachable(base.url, base.dialect)
    path, record, lock = _make_folder(request, corpus, clock)
    run = _CapacityRun(request, corpus, display, clock, stop, path, record, lock, lengths, place)
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
        first = self.record.answered_s is None
        measured = PointMeasurement(planned, self.request, self.lengths, self.clock, first=first)
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
