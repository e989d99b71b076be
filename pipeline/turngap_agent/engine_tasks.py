"""Work of engines in tasks of their own: its outcome, whatever that is, and an end to it that is not waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from turngap_agent import meter
from turngap_agent.errors import one_line
from turngap_agent.meter import Meter

Item = TypeVar("Item")
_log = logging.getLogger("turngap.engines")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item]):
    """What an engine returned or raised, or that its stream has ended."""

    value: Item | None = None
    error: BaseException | None = None
    ended: bool = False
    moves: bool = False
    """Nothing came, and another engine has taken the place of this one."""

    @property
    def failed(self) -> bool:
        """Whether it raised."""
        return self.error is not None


async def contain(work: Callable[[], Awaitable[Any]], watched: Meter) -> Outcome[Any]:
    """Await the engine's work; even what would end the event loop (SystemExit) is only its outcome."""
    meter.CURRENT.set(watched)
    try:
        return Outcome(await work())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever an engine raises, the process continues
        return Outcome(error=error)


async def wait_for_any(
    works: Iterable[asyncio.Future[Any]], within_s: float, change: Callable[[], asyncio.Future[bool]] | None
) -> bool:
    """Wait until one of `works` is done, `within_s` at most; return True if none is and the engine was replaced.

    `change` returns what is done with True when it has been replaced, and with False when it could not be.
    """
    loop, works = asyncio.get_running_loop(), set(works)
    until_s = loop.time() + within_s
    while True:
        changed = change() if change is not None else None
        awaited = works | ({changed} if changed is not None else set())
        await asyncio.wait(awaited, timeout=max(0.0, until_s - loop.time()), return_when=asyncio.FIRST_COMPLETED)
        if changed is None or not changed.done() or any(work.done() for work in works):
            return False
        if changed.result():
            return True


_abandoned: set[asyncio.Task[Any]] = set()
"""Cancelled tasks that have not ended: asyncio itself would forget them."""


async def abandon(task: asyncio.Task[Any], within_s: float) -> None:
    """Cancel `task`, and wait for its end no longer than that."""
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_abandoned.discard)
    if within_s:
        await asyncio.wait({task}, timeout=within_s)


class Pump:
    """Reads a stream in a task of its own, one item each time that it is asked."""

    def __init__(self, start: Callable[[], AsyncIterator[Any]], watched: Meter) -> None:
        self._asked = asyncio.Event()
        self._answered: asyncio.Future[Outcome[Any]] | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(start, watched))

    async def ask(
        self, within_s: float, change: Callable[[], asyncio.Future[bool]] | None = None
    ) -> Outcome[Any] | None:
        """Ask for the next item; return the outcome, or None if there is none in time.

        `change` as in `wait_for_any`.
        """
        task = self._task
        if within_s <= 0 or task is None:  # an item that is there at once would be taken all the same
            return None
        self._answered = asyncio.get_running_loop().create_future()
        self._asked.set()
        either: set[asyncio.Future[Any]] = {self._answered, task}
        if await wait_for_any(either, within_s, change):
            return Outcome(moves=True)
        if self._answered.done():
            return self._answered.result()
        cancelled = asyncio.CancelledError("the engine cancelled the call")
        return Outcome(error=cancelled) if task.done() else None

    async def close(self, within_s: float) -> None:
        """Stop reading, and close the stream; wait for that no longer than `within_s`."""
        self._closed = True
        # A task that was cancelled keeps the frames in which that happened, and they keep this object: who made the
        # stream would be freed by the garbage collector alone.
        task, self._task = self._task, None
        if task is not None and not task.done():
            await abandon(task, within_s)

    async def _run(self, start: Callable[[], AsyncIterator[Any]], watched: Meter) -> None:
        meter.CURRENT.set(watched)
        source: AsyncIterator[Any] | None = None
        try:
            while not self._closed:
                await self._asked.wait()
                self._asked.clear()
                try:
                    source = start() if source is None else source
                    outcome: Outcome[Any] = Outcome(await anext(source))
                except StopAsyncIteration:
                    outcome = Outcome(ended=True)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001  # whatever an engine raises, the process continues
                    outcome = Outcome(error=error)
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
