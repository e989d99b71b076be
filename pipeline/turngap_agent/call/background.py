"""What runs beside a call's turns: queries to the turn model, reading ahead, and the end of cancelled work.

None of it can end the call: a model that fails or is slow here costs time only. Each piece of work is done by the
engine that is in service then, which may be a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from turngap_agent.call import Agent
from turngap_agent.call.checks import check_probability
from turngap_agent.clock import now_ns
from turngap_agent.deadlines import Guard
from turngap_agent.endpointing import EndpointEvent, JudgesPauses, Pause
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.llm import Message, ReadsAhead, Request
from turngap_agent.loading import Engines
from turngap_agent.meter import CURRENT, Meter
from turngap_agent.stt import AudioF32
from turngap_agent.tts import ContextUtterance, PreparesContext

ABANDONED_S = 2.0
"""Cancelled work that has not stopped after this time is no longer waited for."""
_log = logging.getLogger("turngap.call")


class CompletionQueries:
    """One call's questions to the turn model whether the caller is done; only the newest counts."""

    def __init__(
        self,
        audio: Callable[[EndpointEvent], AudioF32],
        pause: Callable[[EndpointEvent], Awaitable[Pause]],
        on_answer: Callable[[EndpointEvent, float], Awaitable[None]],
        agent: Agent,
        call_sid: str,
    ) -> None:
        """Args:
        audio: returns the turn's audio up to an event's sample, 8 kHz.
        pause: returns the turn up to there with its words, once these are known.
        on_answer: takes the probability, 0-1, that the caller is done.
        agent: has the deadline, and the turn model.
        call_sid: for the log.
        """
        self._audio, self._pause, self._on_answer, self._call_sid = audio, pause, on_answer, call_sid
        self._engines, self._guard = agent.engines, Guard(agent.overseer)
        self._limit_ms = agent.profile.deadlines.turn_ms
        self._event: EndpointEvent | None = None
        self._submitted = asyncio.Event()

    def submit(self, event: EndpointEvent) -> None:
        """Query a pause that may be the end of the turn."""
        self._event = event
        self._submitted.set()

    def withdraw(self) -> None:
        """Drop a query that has not started, because the caller resumed."""
        self._event = None

    async def run(self) -> None:
        """Query the turn model, where there is one, until cancelled; without an answer the turn ends by silence."""
        while True:
            await self._submitted.wait()
            self._submitted.clear()
            event, model = self._event, self._engines.turn
            if event is None or model is None:
                continue
            try:
                if isinstance(model, JudgesPauses):
                    pause = await self._pause(event)
                    if self._event is not event:  # the caller has resumed meanwhile
                        continue
                    work = partial(model.judge, pause)
                else:
                    work = partial(model.completeness, self._audio(event))
                probability = await self._guard.result("turn", self._limit_ms, "turn_ms", work, check_probability)
            except Exception as error:  # noqa: BLE001  # whatever a pause's words cost, the call continues
                _log.error("%s: the turn model failed: %s", self._call_sid, " ".join(str(error).split()))
                continue
            await self._on_answer(event, probability)


class ReadAhead:
    """Reads the beginning of a call's next request while the caller still talks, so that only the new words cost time.

    With a language model that cannot read ahead it does nothing.
    """

    def __init__(self, engines: Engines, call_block: str, call_sid: str) -> None:
        self._engines, self._call_block, self._call_sid = engines, call_block, call_sid
        self._task: asyncio.Task[None] | None = None

    def start(self, history: tuple[Message, ...]) -> None:
        """Read the next request, complete but for the caller's words; do nothing while one is being read."""
        llm = self._engines.llm
        if isinstance(llm, ReadsAhead) and (self._task is None or self._task.done()):
            request = Request(self._call_block, history, words="", max_tokens=0)
            self._task = asyncio.create_task(self._read(llm, request))

    async def close(self) -> None:
        """Stop, and free what the language model keeps for the call."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None  # its frames keep this object
        if isinstance(llm := self._engines.llm, ReadsAhead):
            llm.forget(self._call_block)

    async def _read(self, llm: ReadsAhead, request: Request) -> None:
        try:
            await llm.read_ahead(request)
        except EngineError as error:  # the turn's own request will show whether the engine works
            faults.WATCH.report("an engine of the agent", str(error))
            _log.error("%s: reading ahead: %s", self._call_sid, error)


class ContextPreparation:
    """After a turn, computes what the synthesiser needs of the conversation, so that the next turn does not wait.

    With a synthesiser that cannot prepare it does nothing.
    """

    def __init__(self, engines: Engines, call_sid: str) -> None:
        self._engines, self._call_sid = engines, call_sid
        self._task: asyncio.Task[None] | None = None

    def start(self, context: tuple[ContextUtterance, ...]) -> None:
        """Prepare `context` in place of an earlier one."""
        if isinstance(tts := self._engines.tts, PreparesContext):
            if self._task is not None:
                self._task.cancel()
            self._task = asyncio.create_task(self._prepare(tts, context))

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None  # its frames keep this object

    async def _prepare(self, tts: PreparesContext, context: tuple[ContextUtterance, ...]) -> None:
        CURRENT.set(Meter())  # it is started by an attempt's task, and is no work for that attempt
        try:
            await tts.prepare(context)
        except EngineError as error:  # the next turn's own work will show whether the engine works
            faults.WATCH.report("an engine of the agent", str(error))
            _log.error("%s: preparing the context of speech: %s", self._call_sid, error)


class CancelledWork:
    """A call's attempts that were cancelled while engines worked for them; the next attempt starts when those stop.

    An engine finishes its current piece (an encoder pass, a sentence) even if nobody reads it. Without waiting for
    that, a caller who pauses often would have several attempts at work at once, each slowing the one that counts.
    """

    def __init__(self) -> None:
        self._attempts: list[tuple[asyncio.Task[None], Meter]] = []

    def add(self, task: asyncio.Task[None], meter: Meter) -> None:
        """Add a cancelled attempt; `meter` knows its engines' work."""
        self._attempts.append((task, meter))

    def __bool__(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._attempts)

    async def wait(self, within_s: float | None = None) -> bool:
        """Return when the work of all cancelled attempts has stopped, or is given up after `within_s`.

        False when an engine was given up: its work continues beside later work.
        """
        within_s = ABANDONED_S if within_s is None else within_s
        until_ns = now_ns() + round(within_s * 1e9)
        all_stopped = True
        for attempt in tuple(self._attempts):
            task, meter = attempt
            await asyncio.wait([task])
            if not await meter.wait_idle(max(0.0, (until_ns - now_ns()) / 1e9)):
                all_stopped = False
                _log.warning("an engine is still at work %g s after its attempt was cancelled", within_s)
            if attempt in self._attempts:
                self._attempts.remove(attempt)
        return all_stopped


async def run_until_failure(*work: Callable[[], Awaitable[None]]) -> None:
    """Run all of `work` until one fails, and raise that failure alone, not in a group."""
    tasks = [asyncio.ensure_future(start()) for start in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
