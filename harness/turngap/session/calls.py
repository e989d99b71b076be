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
from turngap.session.agent_run import Dealt, Rig, Subject
from turngap.session.reply_scripts import custom_parameters
from turngap.session.scorer import Job

SPANS_TIMEOUT_S = 3.0
"""How long a call's spans may take after its end: the agent flushes them then."""
DEATH_NOTICE_S = 0.5
"""A call that the agent closed may be the first sign of its death."""
LAST_WORDS_S = 5.0
"""How long a call may go on after its agent has died: its socket closes by itself as a rule."""


@dataclass(slots=True)
class Lanes:
    """The calls still to be placed, and what becomes of them."""

    dealt: Sequence[Dealt]
    """In the order in which they are placed; warm-up calls come first, one by one."""
    rigs: Mapping[int, Rig]
    """What stands for each subject, by its `id()`."""
    at_once: int
    corpus: Corpus
    clock: Clock
    scheduler: Scheduler
    stop: asyncio.Event
    """Set it to end the session: calls hang up, finished turns are kept."""
    heard: Callable[[TurnRecord, str], None]
    """Told of every settled turn, and the name of its subject."""
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
        subjects = {id(one.subject): one.subject for one in self.dealt}
        self._died = {key: asyncio.create_task(self._death(subject)) for key, subject in subjects.items()}
        watch = asyncio.create_task(self._watch())
        gc.collect()
        gc.freeze()  # a collection over all that is loaded by now would take longer than a frame
        try:
            await self._lane(deque(one for one in self.dealt if one.call.warm_up))
            scored = deque(one for one in self.dealt if not one.call.warm_up)
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

    async def _death(self, subject: Subject) -> str:
        return subject.named(await self.rigs[id(subject)].agent.died())

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

    async def _lane(self, calls: deque[Dealt]) -> None:
        while calls and not (self._halt.is_set() or self._fault or self.stop.is_set()):
            try:
                await self._place(calls.popleft())
            except TurngapError as fault:
                self._fault = self._fault or fault
                self._halt.set()

    async def _place(self, dealt: Dealt) -> None:
        subject, planned, rig = dealt.subject, dealt.call, self.rigs[id(dealt.subject)]
        first, subject.placed = subject.placed == 0, subject.placed + 1
        alone = len(self.rigs) == 1
        if not alone and rig.agent.pid is not None:
            await rig.sampler.watch(rig.agent.pid, rig.agent.gpu_uuid)
        call = await self._until_halt(
            place_call(
                rig.agent.ready.url,
                planned,
                self.corpus.clips,
                clock=self.clock,
                scheduler=self.scheduler,
                seed=subject.request.seed,
                custom_parameters=custom_parameters(subject.request, planned, self.corpus),
                auth_token="" if rig.agent.ours else None,  # ours asks for no signature
                network=subject.request.network(planned),
            )
        )
        if call.end in (CallEnd.REFUSED, CallEnd.AGENT_CLOSED) and rig.agent.ours:
            await asyncio.wait({self._died[id(subject)]}, timeout=DEATH_NOTICE_S)
        if call.end is CallEnd.REFUSED and first and not self._died[id(subject)].done():
            raise AgentError(subject.named(f"{rig.agent.ready.url}: {call.detail}"))
        as_planned = call.end in (CallEnd.COMPLETED, CallEnd.DISCONNECTED)
        patience_s = SPANS_TIMEOUT_S if as_planned else DEATH_NOTICE_S
        collected = await rig.receiver.collect(call.call_sid, patience_s)
        if not alone:
            await rig.sampler.rest()
        cold = first and rig.agent.ours
        job = Job(subject.folder.path, call, collected, planned, subject.request.network_ms, cold)
        settled = await rig.settler.settle(job)
        subject.progress.add(settled)
        subject.progress.notes += [f"call {call.index}: {warning}" for warning in call.warnings]
        for turn in settled.turns:
            self.heard(turn, subject.name)

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
