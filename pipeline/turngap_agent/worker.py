"""Blocking work on an engine's own thread: a result, or an async generator's items as they come.

The work is told to stop as soon as its reader goes away (closed, cancelled or collected); the reader never waits for
it. Work that has not begun by then never begins. What a thread does for an attempt at a turn counts on its meter.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from turngap_agent import meter
from turngap_agent.errors import EngineError

Item = TypeVar("Item")
Emit = Callable[[Item], bool]
"""Hands an item over; False says that nobody reads any more and the work is to stop."""


Result = TypeVar("Result")
Given = ParamSpec("Given")

_LOOK_S = 0.005
"""Work that stands still looks so often whether it is still wanted, and whether others wait."""

Cores = tuple[int, ...] | None
"""Cores that work may run on; None: all."""


def thread(name: str, cores: Cores = None) -> ThreadPoolExecutor:
    """An engine's one thread, on `cores`; work waits its turn there."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_pin, initargs=(cores,))


@contextmanager
def on_cores(cores: Cores, stage: str = "engine") -> Iterator[None]:
    """The calling thread on `cores` for a while: what threads a library starts meanwhile stay there for good.

    Raises:
        EngineError: the process may not use one of them.
    """
    if cores is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise EngineError(f"{stage}: cores {_listed(cores)}: this system does not pin threads; set cores: null")
    allowed = os.sched_getaffinity(0)
    if foreign := set(cores) - allowed:
        raise EngineError(
            f"{stage}: cores {_listed(foreign)}: not among those the process may use ({_listed(allowed)}); "
            "correct its `cores` in the profile"
        )
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def run(executor: Executor, work: Callable[Given, Result], *args: Given.args, **more: Given.kwargs) -> Result:
    """What `work` returns, or raises, on a thread of `executor`."""
    counted = meter.current()

    def measured() -> Result:
        with counted.busy():
            return work(*args, **more)

    return await asyncio.get_running_loop().run_in_executor(executor, measured)


async def streamed(
    executor: ThreadPoolExecutor, work: Callable[[Emit[Item]], None], *, in_step: bool = False
) -> AsyncGenerator[Item, None]:
    """What `work` emits on a thread of `executor`, in order; what it raises is raised here after the last item.

    `in_step`: the work stands still, with one item in hand, while the reader asks for no more, unless others wait for
    its thread. So work that may be for nothing can be put off by not reading on.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Item | _End] = asyncio.Queue()
    gone = threading.Event()
    asked = given = 0
    moved = threading.Event()
    counted = meter.current()

    def hand_over(item: Item | _End) -> bool:
        if gone.is_set():
            return False
        try:
            loop.call_soon_threadsafe(items.put_nowait, item)
        except RuntimeError:  # the loop was closed under the work: nobody reads any more
            return False
        return True

    def when_asked(item: Item) -> bool:
        nonlocal given
        if given >= asked:
            others = executor._work_queue  # there is no public way to see whether anybody waits
            with counted.resting():
                while given >= asked and others.empty() and not gone.is_set() and not loop.is_closed():
                    moved.wait(_LOOK_S)
                    moved.clear()
        given += 1
        return hand_over(item)

    def begin() -> None:
        if gone.is_set():
            return
        try:
            with counted.busy():
                work(when_asked if in_step else hand_over)
        except BaseException as fault:  # noqa: BLE001 - carried to the reader, whatever it is
            hand_over(_End(fault))
        else:
            hand_over(_End(None))

    def ended(job: Future[None]) -> None:
        if job.cancelled():
            hand_over(_End(EngineError("the engine was closed before the work began; start the agent again")))

    try:
        job = executor.submit(begin)
    except RuntimeError as fault:
        raise EngineError("the engine is closed; start the agent again") from fault
    job.add_done_callback(ended)
    try:
        while True:
            asked += 1
            moved.set()
            item = await items.get()
            if isinstance(item, _End):
                break
            yield item
        if item.fault is not None:
            raise item.fault
    finally:
        gone.set()
        moved.set()
        job.cancel()


def iterated(executor: ThreadPoolExecutor, start: Callable[[], Iterator[Item]]) -> AsyncGenerator[Item, None]:
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


def usable_cores() -> int:
    """How many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pin(cores: Cores) -> None:
    if cores is not None:
        os.sched_setaffinity(0, cores)


def _listed(cores: Iterable[int]) -> str:
    return ", ".join(str(core) for core in sorted(cores))


class _End:
    """Marks the end of the items, with what ended them."""

    def __init__(self, fault: BaseException | None) -> None:
        self.fault = fault
