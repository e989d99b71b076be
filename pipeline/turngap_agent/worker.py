"""Blocking work on an engine's own thread, for one result or for the items of an async generator.

The work receives a request to stop as soon as its reader is gone (closed, cancelled or collected); the reader never
waits for it. Work that has not started by then never starts. A thread's work for an attempt counts on its meter.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from turngap_agent import meter, parts
from turngap_agent.errors import EngineError

Item = TypeVar("Item")
Emit = Callable[[Item], bool]
"""Hands an item over; returns False if nobody reads any more and the work must stop."""

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_POLL_S = 0.005
"""How often paused work checks whether it is still needed, and whether other work waits."""

Cores = tuple[int, ...] | None
"""The cores that work may run on; None: all."""


def make_thread(name: str, cores: Cores = None) -> ThreadPoolExecutor:
    """Return an engine's single thread, on `cores`; work queues there."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=pin, initargs=(cores,))


@contextmanager
def on_cores(cores: Cores, stage: str = "engine") -> Iterator[None]:
    """Pin the calling thread to `cores` inside the context; threads that a library starts meanwhile stay pinned.

    Raises:
        EngineError: the process may not use one of the cores, or the system cannot pin threads.
    """
    if cores is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise EngineError(f"{stage}: cores {_join(cores)}: this system does not pin threads; set cores: null")
    allowed = os.sched_getaffinity(0)
    if foreign := set(cores) - allowed:
        raise EngineError(
            f"{stage}: cores {_join(foreign)}: not among those the process may use ({_join(allowed)}); "
            "correct its `cores` in the profile"
        )
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def run(
    executor: Executor, work: Callable[Arguments, Result], *args: Arguments.args, **more: Arguments.kwargs
) -> Result:
    """Run `work` on a thread of `executor`; return its result, or raise its error."""
    attempt, handing = meter.current(), parts.HandOver()

    def run_metered() -> Result:
        with handing.on_thread(), attempt.busy():
            return work(*args, **more)

    try:
        return await asyncio.get_running_loop().run_in_executor(executor, run_metered)
    finally:
        handing.come_back()


async def stream(
    executor: ThreadPoolExecutor, work: Callable[[Emit[Item]], None], *, in_step: bool = False
) -> AsyncGenerator[Item, None]:
    """Yield what `work` emits on a thread of `executor`, in order; its error is raised after the last item.

    `in_step`: the work pauses, with one item ready, while the reader requests no more, unless other work waits for its
    thread. So work that may be wasted can be postponed by not reading on.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Item | _End] = asyncio.Queue()
    gone = threading.Event()
    requested = emitted = 0
    changed = threading.Event()
    attempt, handing = meter.current(), parts.HandOver()

    def hand_over(item: Item | _End) -> bool:
        if gone.is_set():
            return False
        try:
            loop.call_soon_threadsafe(items.put_nowait, item)
        except RuntimeError:  # the loop was closed under the work: nobody reads any more
            return False
        return True

    def hand_over_on_request(item: Item) -> bool:
        nonlocal emitted
        if emitted >= requested:
            others = executor._work_queue  # there is no public way to see whether other work waits
            with attempt.idle(), parts.part(parts.HAND_OVER):
                while emitted >= requested and others.empty() and not gone.is_set() and not loop.is_closed():
                    changed.wait(_POLL_S)
                    changed.clear()
        emitted += 1
        return hand_over(item)

    def start() -> None:
        if gone.is_set():
            return
        try:
            with handing.on_thread(), attempt.busy():
                work(hand_over_on_request if in_step else hand_over)
        except BaseException as error:  # noqa: BLE001 - raised to the reader, whatever it is
            hand_over(_End(error))
        else:
            hand_over(_End(None))

    def end_cancelled(job: Future[None]) -> None:
        if job.cancelled():
            hand_over(_End(EngineError("the engine was closed before the work started; start the agent again")))

    try:
        job = executor.submit(start)
    except RuntimeError as error:
        raise EngineError("the engine is closed; start the agent again") from error
    job.add_done_callback(end_cancelled)
    try:
        while True:
            requested += 1
            changed.set()
            item = await items.get()
            if isinstance(item, _End):
                handing.come_back()
                break
            yield item
        if item.error is not None:
            raise item.error
    finally:
        gone.set()
        changed.set()
        job.cancel()


def iterate(executor: ThreadPoolExecutor, start: Callable[[], Iterator[Item]]) -> AsyncGenerator[Item, None]:
    """Yield the items of the blocking iterator that `start` returns; a generator is closed on its own thread."""

    def work(emit: Emit[Item]) -> None:
        source = start()
        try:
            for item in source:
                if not emit(item):
                    break
        finally:
            if isinstance(source, Generator):
                source.close()

    return stream(executor, work)


def threads_text(threads: int) -> str:
    """Return "1 thread" or "2 threads", for engines' descriptions."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def usable_cores() -> int:
    """Return how many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pin(cores: Cores) -> None:
    """Pin the calling thread to `cores`, for as long as it lives."""
    if cores is not None:
        os.sched_setaffinity(0, cores)


def _join(cores: Iterable[int]) -> str:
    return ", ".join(str(core) for core in sorted(cores))


class _End:
    """Marks the end of the items, with the error that ended them, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
