"""Calls to engines that end by a deadline, whatever the engine does: raise, hang, return nothing or garbage.

Each call runs in a task of its own. At the deadline the task is cancelled and not waited for, so that neither an engine
that ignores its cancellation nor one whose thread is stuck holds the turn. What an engine returns is checked before it
is used. A call that has had no answer when a fresh engine takes the place of the one it waits for is begun again there,
with its deadline anew: `deadlines.silence_ms` bounds what a caller waits in all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Never, TypeVar

from turngap_agent import meter
from turngap_agent.engine_tasks import Outcome, Pump, abandon, contain, wait_for_any
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError, one_line
from turngap_agent.meter import Meter

CLOSE_S = 0.5
"""How long a call that is cancelled waits for its engine to notice."""
_MOST_CHARACTERS = 300
"""Of an engine's message in log and span."""
Item = TypeVar("Item")
Check = Callable[[Any], Item]
"""Returns what an engine returned, if it is what it should be.

Raises:
    Exception: it is not; says what it is.
"""


class EngineFailure(StrEnum):
    """How an engine failed; what is injected on purpose is a `telephony.faults.FaultKind`."""

    RAISED = "raised"
    DEADLINE = "deadline"
    """It did not answer in time."""
    NOTHING = "nothing"
    """It ended without a result."""
    GARBAGE = "garbage"
    """Its result is not what its stage returns."""
    REPLACED = "replaced"
    """It was not asked: a fresh one is being built in its place."""


class StageError(EngineError):
    """An engine of `stage` failed; the turn is lost, the call is not."""

    def __init__(self, message: str, stage: EngineKind, kind: EngineFailure, deadline_ms: float | None = None) -> None:
        super().__init__(message, code=f"engine.{kind}")
        self.stage, self.kind, self.deadline_ms = stage, kind, deadline_ms


class Overseer:
    """Hears of everything that engines do; this one forgets it. `replacements` has the one that acts."""

    def check(self, stage: EngineKind) -> None:
        """Say that the engine of that stage is about to be asked.

        Raises:
            StageError: (`REPLACED`) it is out of service.
        """

    async def wait_ready(self, stage: EngineKind, within_s: float) -> None:
        """Return when the engine of that stage can be asked: at once, or with the fresh one that is being built.

        Raises:
            StageError: (`REPLACED`) it cannot be asked `within_s`.
        """

    def change(self, stage: EngineKind) -> asyncio.Future[bool]:
        """Return what is done when the stage's engine has been replaced: True; or could not be: False."""
        return asyncio.get_running_loop().create_future()

    def is_out(self, stage: EngineKind) -> bool:
        """Whether the stage's engine is being replaced: an error of the old one says nothing."""
        return False

    def waiting(self, stage: EngineKind) -> AbstractContextManager[None]:
        """Note, inside the context, that a call waits for the stage's engine."""
        return nullcontext()

    def note_answer(self, stage: EngineKind) -> None:
        """Note that it answered."""

    def note_fault(self, fault: StageError, work: Meter) -> None:
        """Note a fault; `work` knows whether the engine still works for the call that failed."""

    def note_cancelled(self, stage: EngineKind, work: Meter, within_ms: float) -> None:
        """Note that it was at work for a call that was cancelled; it should have stopped `within_ms`."""

    @property
    def problem(self) -> str:
        """Why the agent cannot serve calls well at the moment, in a line; "" if it can."""
        return ""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Deadlines of a stream, in ms, with the keys of the profile that say them."""

    first_ms: float
    first_key: str
    next_ms: float
    next_key: str


class Guard:
    """Calls engines for one call of a caller."""

    def __init__(self, overseer: Overseer) -> None:
        self._overseer = overseer

    async def result(
        self, stage: EngineKind, limit_ms: float, key: str, work: Callable[[], Awaitable[Any]], check: Check[Item]
    ) -> Item:
        """Return the checked result of `work`; `key` is the profile's that says `limit_ms`.

        Raises:
            StageError: the engine failed, or did not answer in time.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_ms / 1000
        with self._overseer.waiting(stage):
            while True:
                await self._overseer.wait_ready(stage, until_s - loop.time())
                watched = Meter(meter.current())
                task = asyncio.create_task(contain(work, watched))
                change = partial(self._overseer.change, stage)
                try:
                    moves = await wait_for_any({task}, until_s - loop.time(), change)
                except asyncio.CancelledError:
                    await abandon(task, CLOSE_S)
                    self._note_cancelled(stage, watched, limit_ms)
                    raise
                if not task.done():
                    await abandon(task, 0)
                outcome = _outcome(task, late(stage, limit_ms, key))
                if moves:
                    until_s = loop.time() + limit_ms / 1000
                elif not (task.done() and outcome.error is not None and self._overseer.is_out(stage)):
                    break
        try:
            result = _use(stage, outcome, check)
        except StageError as fault:
            self._overseer.note_fault(fault, watched)
            raise
        self._overseer.note_answer(stage)
        return result

    async def stream(
        self,
        stage: EngineKind,
        limits: StreamLimits,
        start: Callable[[], AsyncIterator[Any]],
        check: Check[Item],
        is_empty: Callable[[Item], bool],
    ) -> AsyncGenerator[Item, None]:
        """Yield the checked items of the stream that `start` begins; close it to stop the engine.

        Only the time that the reader waits counts. Items for which `is_empty` is true are no answer.

        Raises:
            StageError: the engine failed, did not answer in time, or ended without an item that is not empty.
        """
        limit_ms, key, empty = limits.first_ms, limits.first_key, True
        left_s = limit_ms / 1000
        loop = asyncio.get_running_loop()
        waiting = ExitStack()
        waiting.enter_context(self._overseer.waiting(stage))
        pump: Pump | None = None
        watched = Meter()
        try:
            while True:
                asked_s = loop.time()
                if pump is None:
                    await self._overseer.wait_ready(stage, left_s)
                    watched = Meter(meter.current())
                    pump = Pump(start, watched)
                change = partial(self._overseer.change, stage) if empty else None
                outcome = await pump.ask(left_s - (loop.time() - asked_s), change) or Outcome(
                    error=late(stage, limit_ms, key)
                )
                left_s -= loop.time() - asked_s
                if outcome.moves or (empty and outcome.failed and self._overseer.is_out(stage)):
                    await pump.close(0)
                    pump = None
                    left_s = limit_ms / 1000 if outcome.moves else left_s
                    continue
                if outcome.ended:
                    break
                item = _use(stage, outcome, check)
                if not is_empty(item):
                    if empty:
                        self._overseer.note_answer(stage)
                        waiting.close()
                    limit_ms, key, empty = limits.next_ms, limits.next_key, False
                    left_s = limit_ms / 1000
                yield item
            if empty:
                _raise_nothing(stage)
        except StageError as fault:
            waiting.close()
            if pump is not None:
                self._overseer.note_fault(fault, watched)
                await pump.close(0)
            raise
        except BaseException:
            waiting.close()
            if pump is not None:
                await pump.close(CLOSE_S)
                self._note_cancelled(stage, watched, limit_ms)
            raise
        await pump.close(CLOSE_S)

    def _note_cancelled(self, stage: EngineKind, watched: Meter, limit_ms: float) -> None:
        if watched.is_busy:
            self._overseer.note_cancelled(stage, watched, limit_ms)


def late(stage: EngineKind, limit_ms: float, key: str) -> StageError:
    """Return the fault of an engine that missed the deadline `key`."""
    message = f"{stage}: no answer within {limit_ms:g} ms (deadlines.{key})"
    return StageError(message, stage, EngineFailure.DEADLINE, limit_ms)


def _raise_nothing(stage: EngineKind) -> Never:
    raise StageError(f"{stage}: the engine returned nothing", stage, EngineFailure.NOTHING)


def _outcome(task: asyncio.Task[Outcome[Any]], late: StageError) -> Outcome[Any]:
    if not task.done():
        return Outcome(error=late)
    if task.cancelled():  # nobody here cancelled it
        return Outcome(error=asyncio.CancelledError("the engine cancelled the call"))
    return task.result()


def _use(stage: EngineKind, outcome: Outcome[Any], check: Check[Item]) -> Item:
    if (error := outcome.error) is not None:
        if isinstance(error, StageError):
            raise error
        text = one_line(error, _MOST_CHARACTERS)
        message = text if isinstance(error, EngineError) else f"{stage}: {type(error).__name__}: {text}"
        raise StageError(message, stage, EngineFailure.RAISED) from error
    try:
        return check(outcome.value)
    except Exception as error:  # a value may fail in any way where it is looked at
        raise StageError(f"{stage}: the engine returned {error}", stage, EngineFailure.GARBAGE) from error
