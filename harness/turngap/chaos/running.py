"""Injects the faults of a plan, one after the other: a faulty call, a neighbour beside it, and a next call."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turngap_agent.errors import AgentError
from turngap_agent.telephony.faults import Fault, FaultKind, Moment, format_parameters
from turngap_agent.tracing import Span

from turngap.caller.call import place_call
from turngap.caller.priority import raised_priority, short_collections
from turngap.caller.scheduler import Scheduler
from turngap.chaos.conversations import NEIGHBOUR_TURNS, Callers
from turngap.chaos.judgement import ChaosRow, Heard, find_gaps_ms, list_heard, make_row, measure_neighbour
from turngap.chaos.plan import ChaosRequest, list_stages
from turngap.clock import NS_PER_MS, Clock, to_ms
from turngap.model.records import CallEnd, CallRecord
from turngap.processes.agent import RunningAgent
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall
from turngap.session.agent_processes import start_profile
from turngap.store.folder import AGENT_LOG

SPANS_TIMEOUT_S = 3.0
DEATH_NOTICE_S = 0.5
"""How long a call that did not end as planned waits for the agent's death: it may be the first sign of it."""
HEAD_START_NS = 300 * NS_PER_MS
"""The neighbour is in its call before the faulty one begins."""
NEXT_CALL_NS = 1000 * NS_PER_MS
"""After the faulty call: nobody calls sooner."""
LINES = 3
"""The agent takes so many calls at least: the faulty one, its neighbour, and one that has not let go of its line."""


@dataclass(slots=True)
class ChaosRun:
    """A run under way."""

    request: ChaosRequest
    callers: Callers
    clock: Clock
    stop: asyncio.Event
    """Set it to end the run: the faults under way are finished, their rows are kept."""
    show_message: Callable[[str], None]
    show_row: Callable[[ChaosRow], None]
    rows: dict[int, ChaosRow] = field(default_factory=dict)
    """By the fault's place in the plan."""
    alone_gap_ms: float | None = None
    """The median gap of a call with no fault and no neighbour, before the first fault."""
    _calls: int = 0
    alone_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once that was measured: until then no other agent is started."""

    async def run(self) -> None:
        """Inject all faults.

        Raises:
            AgentError: an agent did not start.
            HarnessError: the span receiver did not start.
        """
        queue = deque(enumerate(self.request.faults))
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turngap-chaos-")))
            receiver = await SpanReceiver.start(folder / "spans.jsonl")
            stack.push_async_callback(receiver.stop)
            stack.enter_context(raised_priority())
            scheduler = await stack.enter_async_context(Scheduler(self.clock).running())
            with short_collections():
                lines = [
                    _Line(self, receiver, scheduler, folder / f"agent-{number}")
                    for number in range(self.request.agents)
                ]
                try:
                    async with asyncio.TaskGroup() as group:
                        for number, line in enumerate(lines):
                            group.create_task(line.work(queue, first=number == 0))
                except BaseExceptionGroup as group_of_errors:
                    raise group_of_errors.exceptions[0] from None

    def next_index(self) -> int:
        """Return a number that no other call has."""
        self._calls += 1
        return self.request.seed * 100_000 + self._calls


class _Line:
    """One agent and its callers."""

    def __init__(self, run: ChaosRun, receiver: SpanReceiver, scheduler: Scheduler, folder: Path) -> None:
        self._run, self._receiver, self._scheduler, self._folder = run, receiver, scheduler, folder
        self._agent: RunningAgent | None = None
        self._log_read = 0

    async def work(self, queue: deque[tuple[int, Fault]], *, first: bool) -> None:
        """Inject faults until there are none left; the first line measures the gap without a fault, alone."""
        self._folder.mkdir()
        try:
            if not first:
                await self._run.alone_known.wait()
            while queue and not self._run.stop.is_set():
                number, fault = queue.popleft()
                row = await self._inject(fault)
                self._run.rows[number] = row
                self._run.show_row(row)
        finally:
            self._run.alone_known.set()  # whatever ended it, nobody waits for it any more
            await self._stop_agent()

    async def _inject(self, fault: Fault) -> ChaosRow:
        agent = self._agent or await self._start_agent()
        died = asyncio.create_task(agent.died())
        beside = asyncio.create_task(self._call(*self._run.callers.plan(self._run.next_index(), None, NEIGHBOUR_TURNS)))
        try:
            await self._run.clock.sleep_ns(HEAD_START_NS)
            # The last turn is one after the fault, unless that is there always.
            planned = self._run.callers.plan(
                self._run.next_index(), fault.moment, 2 if fault.moment is Moment.FIRST_WORD else 3
            )
            record, spans = await self._call(*planned, format_parameters(fault))
            if record.end is not CallEnd.COMPLETED:
                await asyncio.wait({died}, timeout=DEATH_NOTICE_S)
            beside.cancel()  # a call that is cancelled ends and returns its record
            neighbour = measure_neighbour(*await beside)
            next_call = await self._call_until_answered(fault, died)
        finally:
            beside.cancel()
            death = died.result() if died.done() else ""
            died.cancel()
        struck, excused = self._has_struck(fault), self._takes_process(fault)
        row = make_row(fault, record, spans, neighbour, next_call, struck=struck, excused=excused, death=death)
        # A thread that is stuck stays until its process ends, and what is not as it should be would spoil the next row.
        if fault.kind is FaultKind.STUCK or not row.survived:
            await self._stop_agent()
        return row

    async def _call_until_answered(self, fault: Fault, died: asyncio.Future[str]) -> tuple[str, float | None, float]:
        """Return what the next caller heard, the gap, and how long after the faulty call that call began, in ms.

        While an engine that was killed or stuck is built again, callers may hear an apology: others call after them.
        """
        clock, ended_ns = self._run.clock, self._run.clock.now_ns()
        may_be_away = fault.kind in (FaultKind.KILL, FaultKind.STUCK)
        until_ns = ended_ns + round(self._run.request.profile.limits.ready_within_s * 1e9)
        while True:
            await clock.sleep_ns(NEXT_CALL_NS)
            back_ms = to_ms(clock.now_ns() - ended_ns)
            if died.done():
                return "none: the agent is dead", None, back_ms
            heard, gap_ms = await self._call_again()
            if heard != Heard.APOLOGY or not may_be_away or clock.now_ns() > until_ns:
                return heard, gap_ms, back_ms

    async def _call_again(self) -> tuple[str, float | None]:
        record, spans = await self._call(*self._run.callers.plan(self._run.next_index(), None, 1))
        heard, gaps = list_heard(record, spans), find_gaps_ms(record)
        return (str(heard[0]), gaps[0]) if heard else (f"{record.end}: {record.detail}", None)

    async def _call(
        self, planned: PlannedCall, clips: Mapping[str, Any], parameters: Mapping[str, str] | None = None
    ) -> tuple[CallRecord, tuple[Span, ...]]:
        """Place a call; return its record and its spans."""
        assert self._agent is not None
        run = self._run
        record = await place_call(
            self._agent.ready.url,
            planned,
            clips,
            clock=run.clock,
            scheduler=self._scheduler,
            seed=run.request.seed,
            custom_parameters={**run.callers.parameters(len(planned.turns)), **(parameters or {})},
            auth_token="",  # an agent that we start checks no signature
        )
        return record, (await self._receiver.collect(record.call_sid, SPANS_TIMEOUT_S)).spans

    async def _start_agent(self) -> RunningAgent:
        """Start an agent, and place a first call, which may be slow."""
        profile = self._run.request.profile
        limits = profile.limits
        data = profile.model_dump(mode="json")
        data["limits"]["simultaneous_calls"] = max(LINES, limits.simultaneous_calls)
        self._log_read = self._read_log_size()
        self._agent = await start_profile(
            data,
            self._folder,
            endpoint=self._receiver.endpoint,
            inject_faults=True,
            timeout_s=limits.ready_within_s,
        )
        heard, gap_ms = await self._call_again()
        if gap_ms is None:
            raise AgentError(f"the agent answers no call even without a fault ({heard}); see turngap run")
        self._run.alone_gap_ms = self._run.alone_gap_ms or (await self._call_again())[1]
        self._run.alone_known.set()
        return self._agent

    async def _stop_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            await agent.stop(grace_s=1.0)

    def _takes_process(self, fault: Fault) -> bool:
        """Return whether the fault ends an engine's process: until the next is warm, neighbours hear an apology."""
        return fault.kind in (FaultKind.KILL, FaultKind.STUCK) and list_stages(self._run.request.profile)[fault.stage]

    def _has_struck(self, fault: Fault) -> bool:
        """Return whether the agent's log says that the fault was injected since the last time."""
        with (self._folder / AGENT_LOG).open("rb") as file:
            file.seek(self._log_read)
            news = file.read()
        self._log_read += len(news)
        return f"injected: {fault}\n".encode() in news

    def _read_log_size(self) -> int:
        log = self._folder / AGENT_LOG
        return log.stat().st_size if log.exists() else 0
