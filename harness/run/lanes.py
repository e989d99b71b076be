"""The calls of a run, in lanes: as many at once as the scenario says, each settled before its lane's next one."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from harness.caller.call import place_call
from harness.caller.scheduler import Scheduler
from harness.clock import Clock
from harness.corpus.clips import Corpus
from harness.records import CallEnd, CallRecord
from harness.run.ledger import Progress
from harness.run.request import Request
from harness.run.settle import Job
from harness.run.standing import Rig
from harness.scenario import PlannedCall
from harness.store.folder import RunFolder
from harness.turn import TurnRecord
from pipeline.errors import AgentError, HarnessError, TurngapError

SPANS_TIMEOUT_S = 3.0
"""How long a call's spans may take after its end: the agent flushes them then."""
DEATH_NOTICE_S = 0.5
"""A call that the agent closed may be the first sign of its death."""
LAST_WORDS_S = 5.0
"""How long a call may go on after its agent has died: its socket closes by itself as a rule."""
INTERRUPTED = "the run was interrupted; the finished turns are kept, and `turngap run --resume"


@dataclass(slots=True)
class Lanes:
    """The calls still to be placed, and what becomes of them."""

    request: Request
    corpus: Corpus
    rig: Rig
    folder: RunFolder
    progress: Progress
    clock: Clock
    scheduler: Scheduler
    stop: asyncio.Event
    """Set it to end the run: calls hang up, finished turns are kept."""
    heard: Callable[[TurnRecord], None]
    """Told of every settled turn."""
    _fault: TurngapError | None = field(default=None, init=False)
    _died: asyncio.Task[str] = field(init=False)
    _halt: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _placed: int = field(default=0, init=False)

    async def place_all(self) -> None:
        """Warm-up calls one by one, then the others; returns when they are settled, or when `stop` ended them.

        Raises:
            AgentError: the agent died, or refused the very first call.
            HarnessError: the run's folder can't be written, or the run was interrupted.
        """
        calls = self.request.missing
        self._died = asyncio.create_task(self.rig.agent.died())
        watch = asyncio.create_task(self._watch())
        gc.collect()
        gc.freeze()  # a collection over all that is loaded by now would take longer than a frame
        try:
            await self._lane(deque(call for call in calls if call.warm_up))
            scored = deque(call for call in calls if not call.warm_up)
            await asyncio.gather(*(self._lane(scored) for _ in range(self.request.simultaneous_calls)))
        finally:
            gc.unfreeze()
            watch.cancel()
            self._died.cancel()
        if self._fault is not None:
            raise self._fault
        if self.stop.is_set():
            raise HarnessError(f"{INTERRUPTED} {self.folder.path}` completes it")

    async def _watch(self) -> None:
        """Halt the lanes when the run is stopped, or a while after the agent's death."""
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({stopped, self._died}, return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                self._fault = self._fault or AgentError(self._died.result())
                await asyncio.wait({stopped}, timeout=LAST_WORDS_S)
            self._halt.set()
        finally:
            stopped.cancel()

    async def _lane(self, calls: deque[PlannedCall]) -> None:
        while calls and not (self._halt.is_set() or self._fault or self.stop.is_set()):
            try:
                await self._place(calls.popleft())
            except TurngapError as fault:
                self._fault = self._fault or fault
                self._halt.set()

    async def _place(self, planned: PlannedCall) -> None:
        first, self._placed = self._placed == 0, self._placed + 1
        call = await self._until_halt(
            place_call(
                self.rig.agent.ready.url,
                planned,
                self.corpus.clips,
                clock=self.clock,
                scheduler=self.scheduler,
                seed=self.request.seed,
                auth_token="" if self.rig.agent.ours else None,  # ours asks for no signature
                network=self.request.network(planned),
            )
        )
        if call.end in (CallEnd.REFUSED, CallEnd.AGENT_CLOSED) and self.rig.agent.ours:
            await asyncio.wait({self._died}, timeout=DEATH_NOTICE_S)
        if call.end is CallEnd.REFUSED and first and not self._died.done():
            raise AgentError(f"{self.rig.agent.ready.url}: {call.detail}")
        as_planned = call.end in (CallEnd.COMPLETED, CallEnd.DISCONNECTED)
        patience_s = SPANS_TIMEOUT_S if as_planned else DEATH_NOTICE_S
        collected = await self.rig.receiver.collect(call.call_sid, patience_s)
        cold = first and self.rig.agent.ours
        job = Job(self.folder.path, call, collected, planned, self.request.network_ms, cold)
        settled = await self.rig.settler.settle(job)
        self.progress.add(settled)
        self.progress.notes += [f"call {call.index}: {warning}" for warning in call.warnings]
        for turn in settled.turns:
            self.heard(turn)

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
