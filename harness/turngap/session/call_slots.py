"""The calls of a session, in lanes: as many at once as are asked for, each settled before its lane's next one."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from turngap_agent.errors import AgentError, HarnessError, TurngapError

from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import TurnRecord
from turngap.session.agent_run import AgentProcesses, AgentRun, AssignedCall
from turngap.session.reply_scripts import custom_parameters
from turngap.session.scoring_process import FinishedCall

SPANS_TIMEOUT_S = 3.0
"""How long a call's spans may take after its end: the agent flushes them then."""
DEATH_NOTICE_S = 0.5
"""A call that the agent closed may be the first sign of its death."""
LAST_WORDS_S = 5.0
"""How long a call may go on after its agent has died: its socket closes by itself as a rule."""


@dataclass(slots=True)
class CallSlots:
    """The calls still to be placed, and what becomes of them."""

    calls: Sequence[AssignedCall]
    """In the order in which they are placed; warm-up calls come first, one by one."""
    processes: Mapping[int, AgentProcesses]
    """What stands for each agent_run, by its `id()`."""
    at_once: int
    corpus: Corpus
    clock: Clock
    scheduler: Scheduler
    stop: asyncio.Event
    """Set it to end the session: calls hang up, finished turns are kept."""
    heard: Callable[[TurnRecord, str], None]
    """Told of every settled turn, and the name of its agent_run."""
    interrupted: str
    """What is said where `stop` ended it."""
    _fault: TurngapError | None = field(default=None, init=False)
    _died: dict[int, asyncio.Task[str]] = field(init=False)
    _halt: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def place_all(self) -> None:
        """Warm-up calls one by one, then the others; returns when they are settled, or when `stop` ended them.

        Raises:
            AgentError: an agent died, or refused its very first call.
            HarnessError: a run's folder can't be written, or the session was interrupted.
        """
        agent_runs = {id(one.agent_run): one.agent_run for one in self.calls}
        self._died = {key: asyncio.create_task(self._death(agent_run)) for key, agent_run in agent_runs.items()}
        watch = asyncio.create_task(self._watch())
        gc.collect()
        gc.freeze()  # a collection over all that is loaded by now would take longer than a frame
        try:
            await self._lane(deque(one for one in self.calls if one.call.warm_up))
            scored = deque(one for one in self.calls if not one.call.warm_up)
            await asyncio.gather(*(self._lane(scored) for _ in range(self.at_once)))
        finally:
            gc.unfreeze()
            watch.cancel()
            for death in self._died.values():
                death.cancel()
        if self._fault is not None:
            raise self._fault
        if self.stop.is_set():
            raise HarnessError(self.interrupted)

    async def _death(self, agent_run: AgentRun) -> str:
        return agent_run.named(await self.processes[id(agent_run)].agent.died())

    async def _watch(self) -> None:
        """Halt the lanes when the session is stopped, or a while after an agent's death."""
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({stopped, *self._died.values()}, return_when=asyncio.FIRST_COMPLETED)
            dead = next((death for death in self._died.values() if death.done()), None)
            if dead is not None:
                self._fault = self._fault or AgentError(dead.result())
                await asyncio.wait({stopped}, timeout=LAST_WORDS_S)
            self._halt.set()
        finally:
            stopped.cancel()

    async def _lane(self, calls: deque[AssignedCall]) -> None:
        while calls and not (self._halt.is_set() or self._fault or self.stop.is_set()):
            try:
                await self._place(calls.popleft())
            except TurngapError as fault:
                self._fault = self._fault or fault
                self._halt.set()

    async def _place(self, calls: AssignedCall) -> None:
        agent_run, planned, processes = calls.agent_run, calls.call, self.processes[id(calls.agent_run)]
        first, agent_run.placed = agent_run.placed == 0, agent_run.placed + 1
        alone = len(self.processes) == 1
        if not alone and processes.agent.pid is not None:
            await processes.sampler.watch(processes.agent.pid, processes.agent.gpu_uuid)
        call = await self._until_halt(
            place_call(
                processes.agent.ready.url,
                planned,
                self.corpus.clips,
                clock=self.clock,
                scheduler=self.scheduler,
                seed=agent_run.request.seed,
                custom_parameters=custom_parameters(agent_run.request, planned, self.corpus),
                auth_token="" if processes.agent.ours else None,  # ours asks for no signature
                network=agent_run.request.network(planned),
            )
        )
        if call.end in (CallEnd.REFUSED, CallEnd.AGENT_CLOSED) and processes.agent.ours:
            await asyncio.wait({self._died[id(agent_run)]}, timeout=DEATH_NOTICE_S)
        if call.end is CallEnd.REFUSED and first and not self._died[id(agent_run)].done():
            raise AgentError(agent_run.named(f"{processes.agent.ready.url}: {call.detail}"))
        as_planned = call.end in (CallEnd.COMPLETED, CallEnd.DISCONNECTED)
        patience_s = SPANS_TIMEOUT_S if as_planned else DEATH_NOTICE_S
        collected = await processes.receiver.collect(call.call_sid, patience_s)
        if not alone:
            await processes.sampler.rest()
        cold = first and processes.agent.ours
        job = FinishedCall(agent_run.folder.path, call, collected, planned, agent_run.request.network_ms, cold)
        settled = await processes.settler.score_and_save(job)
        agent_run.progress.add(settled)
        agent_run.progress.notes += [f"call {call.index}: {warning}" for warning in call.warnings]
        for turn in settled.turns:
            self.heard(turn, agent_run.name)

    async def _until_halt(self, placing: Coroutine[None, None, CallRecord]) -> CallRecord:
        """The call's record; once the lanes are halted it hangs up, and gives what it has."""
        call, halted = asyncio.create_task(placing), asyncio.create_task(self._halt.wait())
        try:
            await asyncio.wait({call, halted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halted.cancel()
            if not call.done():
                call.cancel()
        return await call
