"""Calls to engines that end by a deadline, whatever the engine does: raise, hang, return nothing or garbage.

Each call runs in a task of its own. At the deadline the task is cancelled and not waited for, so that neither an engine
that ignores its cancellation nor one whose thread is stuck holds the turn. What an engine returns is checked before it
is used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Never, TypeVar

from turngap_agent import meter
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError, one_line
from turngap_agent.meter import Meter

CLOSE_S = 0.5
"""How long a call that is cancelled waits for its engine to notice."""
_MOST_CHARACTERS = 300
"""Of an engine's message in log and span."""
_log = logging.getLogger("turngap.engines")
Item = TypeVar("Item")
Check = Callable[[Any], Item]
"""Returns what an engine returned, if it is what it should be.

Raises:
    Exception: it is not; says what it is.
"""


class FaultKind(StrEnum):
    """What an engine did."""

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

    def __init__(self, message: str, stage: EngineKind, kind: FaultKind, deadline_ms: float | None = None) -> None:
        super().__init__(message, code=f"engine.{kind}")
        self.stage, self.kind, self.deadline_ms = stage, kind, deadline_ms


class Overseer:
    """Hears of everything that engines do; this one forgets it. `replacements` has the one that acts."""

    def check(self, stage: EngineKind) -> None:
        """Say that the engine of that stage is about to be asked.

        Raises:
            StageError: (`REPLACED`) it is out of service.
        """

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
        self._overseer.check(stage)
        watched = Meter(meter.current())
        task = asyncio.create_task(_contain(work, watched))
        try:
            await asyncio.wait({task}, timeout=limit_ms / 1000)
        except asyncio.CancelledError:
            await _abandon(task, CLOSE_S)
            self._note_cancelled(stage, watched, limit_ms)
            raise
        if not task.done():
            await _abandon(task, 0)
        try:
            result = _use(stage, _outcome(task, late(stage, limit_ms, key)), check)
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
        self._overseer.check(stage)
        watched = Meter(meter.current())
        pump = _Pump(start, watched)
        limit_ms, key, empty = limits.first_ms, limits.first_key, True
        left_s = limit_ms / 1000
        loop = asyncio.get_running_loop()
        try:
            while True:
                asked_s = loop.time()
                outcome = await pump.ask(left_s) or _Outcome(error=late(stage, limit_ms, key))
                left_s -= loop.time() - asked_s
                if outcome.ended:
                    break
                item = _use(stage, outcome, check)
                if not is_empty(item):
                    if empty:
                        self._overseer.note_answer(stage)
                    limit_ms, key, empty = limits.next_ms, limits.next_key, False
                    left_s = limit_ms / 1000
                yield item
            if empty:
                _raise_nothing(stage)
        except StageError as fault:
            self._overseer.note_fault(fault, watched)
            await pump.close(0)
            raise
        except BaseException:
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
    return StageError(message, stage, FaultKind.DEADLINE, limit_ms)


def _raise_nothing(stage: EngineKind) -> Never:
    raise StageError(f"{stage}: the engine returned nothing", stage, FaultKind.NOTHING)


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[Item]):
    """What an engine returned or raised, or that its stream has ended."""

    value: Item | None = None
    error: BaseException | None = None
    ended: bool = False


async def _contain(work: Callable[[], Awaitable[Any]], watched: Meter) -> _Outcome[Any]:
    """Await the engine's work; even what would end the event loop (SystemExit) is only its outcome."""
    meter.CURRENT.set(watched)
    try:
        return _Outcome(await work())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever an engine raises, the process continues
        return _Outcome(error=error)


def _outcome(task: asyncio.Task[_Outcome[Any]], late: StageError) -> _Outcome[Any]:
    if not task.done():
        return _Outcome(error=late)
    if task.cancelled():  # nobody here cancelled it
        return _Outcome(error=asyncio.CancelledError("the engine cancelled the call"))
    return task.result()


def _use(stage: EngineKind, outcome: _Outcome[Any], check: Check[Item]) -> Item:
    if (error := outcome.error) is not None:
        if isinstance(error, StageError):
            raise error
        text = one_line(error, _MOST_CHARACTERS)
        message = text if isinstance(error, EngineError) else f"{stage}: {type(error).__name__}: {text}"
        raise StageError(message, stage, FaultKind.RAISED) from error
    try:
        return check(outcome.value)
    except Exception as error:  # a value may fail in any way where it is looked at
        raise StageError(f"{stage}: the engine returned {error}", stage, FaultKind.GARBAGE) from error


_abandoned: set[asyncio.Task[Any]] = set()
"""Cancelled tasks that have not ended: asyncio itself would forget them."""


async def _abandon(task: asyncio.Task[Any], within_s: float) -> None:
    """Cancel `task`, and wait for its end no longer than that."""
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_abandoned.discard)
    if within_s:
        await asyncio.wait({task}, timeout=within_s)


class _Pump:
    """Reads a stream in a task of its own, one item each time that it is asked."""

    def __init__(self, start: Callable[[], AsyncIterator[Any]], watched: Meter) -> None:
        self._asked = asyncio.Event()
        self._answered: asyncio.Future[_Outcome[Any]] | None = None
        self._closed = False
        self._task = asyncio.create_task(self._run(start, watched))

    async def ask(self, within_s: float) -> _Outcome[Any] | None:
        """Ask for the next item; return the outcome, or None if there is none in time."""
        if within_s <= 0:  # an item that is there at once would be taken all the same
            return None
        self._answered = asyncio.get_running_loop().create_future()
        self._asked.set()
        either: set[asyncio.Future[Any]] = {self._answered, self._task}
        await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if self._answered.done():
            return self._answered.result()
        cancelled = asyncio.CancelledError("the engine cancelled the call")
        return _Outcome(error=cancelled) if self._task.done() else None

    async def close(self, within_s: float) -> None:
        """Stop reading, and close the stream; wait for that no longer than `within_s`."""
        self._closed = True
        if not self._task.done():
            await _abandon(self._task, within_s)

    async def _run(self, start: Callable[[], AsyncIterator[Any]], watched: Meter) -> None:
        meter.CURRENT.set(watched)
        source: AsyncIterator[Any] | None = None
        try:
            while not self._closed:
                await self._asked.wait()
                self._asked.clear()
                try:
                    source = start() if source is None else source
                    outcome: _Outcome[Any] = _Outcome(await anext(source))
                except StopAsyncIteration:
                    outcome = _Outcome(ended=True)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001  # whatever an engine raises, the process continues
                    outcome = _Outcome(error=error)
                if self._answered is not None and not self._answered.done():
                    self._answered.set_result(outcome)
        finally:
            await _close(source)


async def _close(source: Any) -> None:
    """Close a stream, if it can be closed; an engine that fails at that has failed no call any more."""
    if (aclose := getattr(source, "aclose", None)) is None:
        return
    try:
        await aclose()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # even what would end the event loop
        _log.warning("an engine's stream does not close: %s: %s", type(error).__name__, one_line(error))
