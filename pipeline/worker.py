"""Blocking work on an executor's thread, read as an async generator: items as they come, cancelled when closed.

The work is told to stop as soon as its reader goes away (closed, cancelled or collected); the reader never waits for
it. Work that has not begun by then never begins.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

from pipeline.errors import EngineError

Item = TypeVar("Item")
Emit = Callable[[Item], bool]
"""Hands an item over; False says that nobody reads any more and the work is to stop."""


async def streamed(executor: Executor, work: Callable[[Emit[Item]], None]) -> AsyncGenerator[Item, None]:
    """What `work` emits on a thread of `executor`, in order; what it raises is raised here after the last item."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Item | _End] = asyncio.Queue()
    gone = threading.Event()

    def hand_over(item: Item | _End) -> bool:
        if gone.is_set():
            return False
        try:
            loop.call_soon_threadsafe(items.put_nowait, item)
        except RuntimeError:  # the loop was closed under the work: nobody reads any more
            return False
        return True

    def run() -> None:
        if gone.is_set():
            return
        try:
            work(hand_over)
        except BaseException as fault:  # noqa: BLE001 - carried to the reader, whatever it is
            hand_over(_End(fault))
        else:
            hand_over(_End(None))

    def ended(job: Future[None]) -> None:
        if job.cancelled():
            hand_over(_End(EngineError("the engine was closed before the work began; start the agent again")))

    try:
        job = executor.submit(run)
    except RuntimeError as fault:
        raise EngineError("the engine is closed; start the agent again") from fault
    job.add_done_callback(ended)
    try:
        while not isinstance(item := await items.get(), _End):
            yield item
        if item.fault is not None:
            raise item.fault
    finally:
        gone.set()
        job.cancel()


def iterated(executor: Executor, start: Callable[[], Iterator[Item]]) -> AsyncGenerator[Item, None]:
    """The items of the blocking iterator that `start` gives; a generator is closed on its own thread."""

    def work(emit: Emit[Item]) -> None:
        source = start()
        try:
            for item in source:
                if not emit(item):
                    break
        finally:
            if isinstance(source, Generator):
                source.close()

    return streamed(executor, work)


def threads_text(threads: int) -> str:
    """ "1 thread", "2 threads": for what an engine says of itself."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


class _End:
    """Marks the end of the items, with what ended them."""

    def __init__(self, fault: BaseException | None) -> None:
        self.fault = fault
