"""Places a session's calls: up to so many at once, each scored and saved before its slot takes the next one."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from turngap_agent.errors import AgentError, HarnessError, TurngapError

from turngap.caller.call import place_call
from turngap.caller.priority import short_collections
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.plural import plural
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import TurnRecord
from turngap.processes.agent import is_this_host
from turngap.processes.caller_orders import ArrangedCall, CallerLoad
from turngap.processes.caller_processes import CallerProcesses
from turngap.session.agent_processes import AgentProcesses
from turngap.session.agent_run import AgentRun, AssignedCall
from turngap.session.call_observer import CallObserver
from turngap.session.reply_scripts import custom_parameters
from turngap.session.scoring_process import ScoringJob, ScoringProcess
from turngap.session.spread_calls import spread_timed_calls
from turngap.session.timed_calls import Arrange, OnCall, TimedCall, place_timed_calls

SPANS_TIMEOUT_S = 3.0
"""How long a call's spans may take after its end: the agent flushes them then."""
MAPPED_SPANS_TIMEOUT_S = 7.0
"""The same for another framework's agent: OpenTelemetry's own exporter sends every 5 s."""
DEATH_NOTICE_S = 0.5
"""How long a call that the agent closed waits for the agent's death: it may be the first sign of it."""
DEAD_AGENT_GRACE_S = 5.0
"""How long calls may continue after an agent has died: its sockets close by themselves as a rule."""


@dataclass(slots=True)
class CallSlots:
    """The calls still to be placed, and what they are placed and scored with."""

    calls: Sequence[AssignedCall]
    """In the order in which they are placed; warm-up calls come first, one by one."""
    processes: Mapping[str, AgentProcesses]
    """By the name of the run."""
    scorer: ScoringProcess
    slots: int
    """Calls at the same time, warm-up calls apart."""
    corpus: Corpus
    clock: Clock
    scheduler: Scheduler
    stop: asyncio.Event
    """Set it to end the session: calls hang up, finished turns are kept."""
    show_turn: Callable[[TurnRecord, str], None]
    """Called with every scored turn and the name of its run."""
    show_message: Callable[[str], None]
    interrupted: str
    """The message of the error where `stop` ended the session."""
    arrange: Arrange | None = None
    """Plans moments for the calls that are not warm-up calls; None: each is placed as soon as a slot is free."""
    on_call: OnCall | None = None
    callers: CallerProcesses | None = None
    """Processes that place the calls with planned moments; None: this one does."""
    loads: list[CallerLoad] = field(default_factory=list, init=False)
    """What the calls took of these processes."""
    observer: CallObserver | None = None
    _error: TurngapError | None = field(default=None, init=False)
    _deaths: dict[str, asyncio.Task[str]] = field(init=False)
    """For each run a task that ends, with a message, when its agent dies."""
    _halt: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def place_all(self) -> None:
        """Place the warm-up calls one by one, then the others; return when all are scored.

        Raises:
            AgentError: an agent died, or refused its very first call.
            HarnessError: a run's folder can't be written, or the session was interrupted.
        """
        agent_runs = {assigned.agent_run.name: assigned.agent_run for assigned in self.calls}
        self._deaths = {name: asyncio.create_task(self._death(agent_run)) for name, agent_run in agent_runs.items()}
        watch = asyncio.create_task(self._watch())
        try:
            with short_collections():
                await self._fill_slot(deque(assigned for assigned in self.calls if assigned.call.warm_up))
                await self._wait_for_start()
                calls = [assigned for assigned in self.calls if not assigned.call.warm_up]
                await self._place_round(calls)
                # Only once all others have ended is it known which calls are placed again: see `verdict.replaced`.
                while not self._ends and (calls := self._list_repeats(agent_runs.values())):
                    await self._place_round(calls)
        finally:
            watch.cancel()
            for death in self._deaths.values():
                death.cancel()
        if self._error is not None:
            raise self._error
        if self.stop.is_set():
            raise HarnessError(self.interrupted, code="harness.interrupted")

    async def _wait_for_start(self) -> None:
        """Return when the observer lets the calls begin, or the slots are halted."""
        if self.observer is None or self._ends:
            return
        waits = [asyncio.create_task(self.observer.wait_for_start()), asyncio.create_task(self._halt.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _death(self, agent_run: AgentRun) -> str:
        return agent_run.prefixed(await self.processes[agent_run.name].agent.died())

    async def _watch(self) -> None:
        """Halt the slots when the session is stopped, or a while after an agent's death."""
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({stopped, *self._deaths.values()}, return_when=asyncio.FIRST_COMPLETED)
            dead = next((death for death in self._deaths.values() if death.done()), None)
            if dead is not None:
                self._error = self._error or AgentError(dead.result())
                await asyncio.wait({stopped}, timeout=DEAD_AGENT_GRACE_S)
            self._halt.set()
        finally:
            stopped.cancel()

    @property
    def _ends(self) -> bool:
        """Whether no further call is placed, to no agent."""
        return self._halt.is_set() or self._error is not None or self.stop.is_set()

    def _list_repeats(self, agent_runs: Iterable[AgentRun]) -> list[AssignedCall]:
        """Return the calls to be placed again, of the runs that are not decided."""
        repeats = [
            AssignedCall(agent_run, call)
            for agent_run in agent_runs
            if agent_run.progress.decided is None
            for call in agent_run.set_aside()
        ]
        if repeats:
            self.show_message(f"{plural(len(repeats), 'turn')} spoilt by our own lateness: called again")
        return repeats

    async def _place_round(self, calls: Sequence[AssignedCall]) -> None:
        """Place the calls in their order, so many at once as there are slots; or at their planned moments."""
        if self.arrange is not None:
            timed = self.arrange(calls) if calls else ()
            if self.callers is None:
                await place_timed_calls(timed, self._try_to_place, clock=self.clock, ended=self._has_ended)
            elif timed:
                await self._note_error(self._spread(timed, self.callers))
            return
        queue = deque(calls)
        await asyncio.gather(*(self._fill_slot(queue) for _ in range(self.slots)))

    async def _fill_slot(self, calls: deque[AssignedCall]) -> None:
        """Place one call after the other until none is left or the slots are halted.

        A run whose verdict is decided gets no further call; those under way are finished.
        """
        while calls and not self._ends:
            assigned = calls.popleft()
            if not self._has_ended(assigned):
                await self._try_to_place(assigned)

    def _has_ended(self, assigned: AssignedCall) -> bool:
        """Return whether no further call is placed for that run."""
        return self._ends or assigned.agent_run.progress.decided is not None

    async def _try_to_place(self, assigned: AssignedCall, planned_ns: int | None = None) -> None:
        """Place a call; an error halts all slots."""
        await self._note_error(self._place(assigned, planned_ns))

    async def _note_error(self, work: Coroutine[None, None, None]) -> None:
        """Do some work; an error halts all slots."""
        try:
            await work
        except TurngapError as error:
            self._error = self._error or error
            self._halt.set()

    async def _spread(self, timed: Sequence[TimedCall], callers: CallerProcesses) -> None:
        """Place calls at their moments by other processes, and score them."""

        async def finish(assigned: AssignedCall, call: CallRecord) -> None:
            await self._note_error(self._finish(assigned, call, first=False))

        self.loads += await spread_timed_calls(
            timed, callers, make_order=self._make_order, finish=finish, ended=self._has_ended, halt=self._halt
        )

    def _make_order(self, timed: TimedCall) -> ArrangedCall:
        agent_run, planned = timed.assigned.agent_run, timed.assigned.call
        agent = self.processes[agent_run.name].agent
        agent_run.calls_placed += 1
        return ArrangedCall(
            planned,
            agent.ready.url,
            timed.start_ns,
            agent_run.request.seed,
            custom_parameters=self._parameters(timed.assigned),
            dialect=agent_run.request.dialect,
            auth_token="" if agent.ours else os.environ.get("TWILIO_AUTH_TOKEN", ""),
        )

    def _parameters(self, assigned: AssignedCall) -> dict[str, str]:
        request = assigned.agent_run.request
        return {**request.stream_parameters, **custom_parameters(request, assigned.call, self.corpus)}

    async def _place(self, assigned: AssignedCall, planned_ns: int | None) -> None:
        """Place a call, collect its spans, score and save it; `planned_ns` is the moment it was planned for."""
        agent_run, planned = assigned.agent_run, assigned.call
        processes = self.processes[agent_run.name]
        agent = processes.agent
        first, agent_run.calls_placed = agent_run.calls_placed == 0, agent_run.calls_placed + 1
        if self.observer is not None:
            self.observer.note_begin(planned)
        alone = len(self.processes) == 1
        if not alone and agent.pid is not None:
            await processes.sampler.watch(agent.pid, agent.gpu_uuid)
        placed_ns = self.clock.now_ns()
        call = await self._until_halt(
            place_call(
                agent.ready.url,
                planned,
                self.corpus.clips,
                clock=self.clock,
                scheduler=self.scheduler,
                seed=agent_run.request.seed,
                custom_parameters=self._parameters(assigned),
                dialect=agent_run.request.dialect,
                spans_so_far=processes.receiver.current_spans,
                auth_token="" if agent.ours else None,  # an agent that we start checks no signature
            )
        )
        await self._finish(assigned, replace(call, planned_ns=planned_ns, placed_ns=placed_ns), first=first)

    async def _finish(self, assigned: AssignedCall, call: CallRecord, *, first: bool) -> None:
        """Collect the spans of a call that has ended, score and save it; `first`: it was the agent's very first."""
        agent_run, planned = assigned.agent_run, assigned.call
        processes, death = self.processes[agent_run.name], self._deaths[agent_run.name]
        agent, alone = processes.agent, len(self.processes) == 1
        if self.on_call is not None:
            self.on_call(call)
        if call.end in (CallEnd.REFUSED, CallEnd.AGENT_CLOSED) and agent.ours:
            await asyncio.wait({death}, timeout=DEATH_NOTICE_S)
        if call.end is CallEnd.REFUSED and first and not death.done():
            url = agent.ready.url
            raise AgentError(agent_run.prefixed(call.detail if url in call.detail else f"{url}: {call.detail}"))
        as_planned = call.end in (CallEnd.COMPLETED, CallEnd.DISCONNECTED)
        mapping = agent_run.request.mapping
        timeout_s = MAPPED_SPANS_TIMEOUT_S if mapping is not None else SPANS_TIMEOUT_S if as_planned else DEATH_NOTICE_S
        collected = await processes.receiver.collect_for(call, timeout_s)
        if not alone:
            await processes.sampler.pause()
        cold = first and agent.ours
        job = ScoringJob(
            agent_run.folder.path,
            call,
            collected,
            planned,
            agent_run.request.network_ms(planned),
            cold,
            None if agent_run.request.options.all_turns else agent_run.rule,
            mapping,
            is_this_host(agent.ready.url),
        )
        scored = await self.scorer.score_and_save(job)
        agent_run.progress.add(scored)
        if self.observer is not None:
            self.observer.note_end(planned, scored)
        agent_run.progress.notes += [f"call {call.index}: {warning}" for warning in call.warnings]
        for turn in scored.turns:
            self.show_turn(turn, agent_run.name)

    async def _until_halt(self, placing: Coroutine[None, None, CallRecord]) -> CallRecord:
        """Return the call's record; once the slots are halted the call hangs up and its record is partial."""
        call, halted = asyncio.create_task(placing), asyncio.create_task(self._halt.wait())
        try:
            await asyncio.wait({call, halted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halted.cancel()
            if not call.done():
                call.cancel()
        return await call
