"""Places the calls of one point at their planned moments, and collects what is known of it once its run has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turngap.capacity.arrangement import Arrangement
from turngap.capacity.arrivals import NS_PER_S, ArrivalPlan, Load, plan_arrivals
from turngap.capacity.call_log import LoadedCall, append_call
from turngap.capacity.figures import CallerUse, PointFacts
from turngap.capacity.lengths import CallLengths
from turngap.capacity.plan import CapacityRequest, PlannedPoint
from turngap.capacity.resources import read_resources
from turngap.clock import Clock, SystemClock
from turngap.model.records import CallRecord
from turngap.processes import environment
from turngap.processes.caller_processes import count_processes
from turngap.scenario import PlannedCall
from turngap.session.agent_run import AgentRun, AssignedCall
from turngap.session.runner import Session
from turngap.session.timed_calls import TimedCall
from turngap.store import folder as store


@dataclass(slots=True)
class PointMeasurement:
    """The calls of one point while they are placed, and what is known of them then."""

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
    _again_ns: int | None = field(default=None, init=False)
    """When calls were planned again that our own lateness had spoilt."""

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
        cpus = environment.count_cores()
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
        again_ns = self._again_ns
        at_first = [call for call in calls if again_ns is None or call.planned_ns < again_ns]
        scored = [call for call in at_first if not call.is_bystander] or calls
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
            again_ns=again_ns,
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
        if self.arrangement.rounds and self._again_ns is None:
            self._again_ns = self.clock.now_ns()
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
