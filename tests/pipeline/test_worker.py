"""Blocking work as an async generator: order, faults, and stopping when the reader goes away."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from turngap_agent import worker
from turngap_agent.errors import EngineError

from tests.pipeline.conftest import PATIENCE_S


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def gather(stream: AsyncGenerator[int, None]) -> list[int]:
    return [item async for item in stream]


def test_items_are_in_order(executor: ThreadPoolExecutor) -> None:
    """All of them, once each."""
    assert asyncio.run(gather(worker.iterate(executor, lambda: iter(range(1000))))) == list(range(1000))


def test_an_error_is_raised_after_the_items_before_it(executor: ThreadPoolExecutor) -> None:
    """What the work raises reaches the reader, and only after what it gave."""

    def faulty() -> Iterator[int]:
        yield 1
        raise EngineError("it broke")

    async def read() -> list[int]:
        stream = worker.iterate(executor, faulty)
        items = [await anext(stream)]
        with pytest.raises(EngineError, match="it broke"):
            await anext(stream)
        return items

    assert asyncio.run(read()) == [1]


def test_closing_stops_the_work(executor: ThreadPoolExecutor) -> None:
    """An endless iterator ends, and is closed on its own thread, once its reader is."""
    closed_on: list[str] = []

    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed_on.append(threading.current_thread().name)

    async def read_one() -> int:
        stream = worker.iterate(executor, endless)
        first = await anext(stream)
        await stream.aclose()
        return first

    assert asyncio.run(read_one()) == 1
    executor.shutdown(wait=True)
    assert len(closed_on) == 1
    assert closed_on != [threading.main_thread().name]


def test_closing_does_not_wait_for_the_work(executor: ThreadPoolExecutor) -> None:
    """The reader is free at once, even while the work is in a long step."""
    release, first_given = threading.Event(), threading.Event()

    def slow(emit: worker.Emit[int]) -> None:
        emit(1)
        first_given.set()
        release.wait(10)

    async def read() -> bool:
        stream = worker.stream(executor, slow)
        await anext(stream)
        first_given.wait(10)
        await stream.aclose()
        return release.is_set()

    assert asyncio.run(read()) is False
    release.set()


def count(made: list[int], over: threading.Event) -> Callable[[worker.Emit[int]], None]:
    """Work that emits 0, 1, 2 … until its reader stops, and notes what it made."""

    def work(emit: worker.Emit[int]) -> None:
        while True:
            made.append(len(made))
            if not emit(made[-1]):
                break
        over.set()

    return work


def test_work_in_step_has_one_item_in_hand_and_no_more(executor: ThreadPoolExecutor) -> None:
    """It continues while items are requested, and pauses otherwise; closing ends it in both cases."""
    made: list[int] = []
    over = threading.Event()

    async def read() -> list[int]:
        stream = worker.stream(executor, count(made, over), in_step=True)
        taken = [await anext(stream) for _ in range(5)]
        assert len(made) <= 6
        await stream.aclose()
        return taken

    assert asyncio.run(read()) == list(range(5))
    assert over.wait(PATIENCE_S)
    assert len(made) <= 6


def test_work_in_step_continues_if_others_wait_for_its_thread(executor: ThreadPoolExecutor) -> None:
    """A reader that requests no more does not block others from the engine."""

    async def read() -> str:
        stream = worker.stream(executor, lambda emit: [emit(n) for n in range(50)] and None, in_step=True)
        await anext(stream)
        other = await worker.run(executor, lambda: "served")
        await stream.aclose()
        return other

    assert asyncio.run(asyncio.wait_for(read(), PATIENCE_S)) == "served"


def test_a_cancelled_reader_stops_the_work(executor: ThreadPoolExecutor) -> None:
    """Cancelling the task that reads is as good as closing: the next hand-over is refused."""
    refused = threading.Event()

    def work(emit: worker.Emit[int]) -> None:
        while emit(1):
            pass
        refused.set()

    async def read() -> None:
        reader = asyncio.create_task(gather(worker.stream(executor, work)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    asyncio.run(read())
    executor.shutdown(wait=True)
    assert refused.is_set() or not executor._threads


def test_work_that_has_not_begun_never_begins(executor: ThreadPoolExecutor) -> None:
    """A reader that leaves while its work still waits for a thread takes the work with it."""
    release, begun = threading.Event(), threading.Event()

    async def read() -> None:
        executor.submit(release.wait, 10)
        stream = worker.stream(executor, lambda emit: begun.set())
        reader = asyncio.create_task(gather(stream))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    asyncio.run(read())
    release.set()
    executor.shutdown(wait=True)
    assert not begun.is_set()


def test_a_closed_engine_takes_no_work() -> None:
    """Asked after its executor is gone, it answers with one line."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(EngineError, match="is closed"):
        asyncio.run(gather(worker.iterate(executor, lambda: iter([1]))))


def test_a_closed_engine_does_not_leave_its_readers_waiting() -> None:
    """Work that is dropped with its executor ends in an error, not in silence."""
    release = threading.Event()

    async def read() -> None:
        executor = ThreadPoolExecutor(1)
        executor.submit(release.wait, 10)
        reader = asyncio.create_task(gather(worker.stream(executor, lambda emit: None)))
        await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(EngineError, match="closed"):
            await reader
        release.set()

    asyncio.run(read())


pinned = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are pinned on Linux alone")


@pinned
def test_an_engines_thread_stays_on_its_cores() -> None:
    """The pool's thread runs where the profile says; the thread that made it, where it did before."""
    before = os.sched_getaffinity(0)
    core = min(before)
    with worker.make_thread("engine", (core,)) as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == {core}
    with worker.make_thread("engine") as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == before
    assert os.sched_getaffinity(0) == before


@pinned
def test_threads_a_library_starts_while_it_loads_inherit_its_cores() -> None:
    """A thread begun inside `on_cores` stays there; the loading thread goes back."""
    before = os.sched_getaffinity(0)
    core = min(before)
    affinities: list[set[int]] = []
    go = threading.Event()

    def work() -> None:
        go.wait(10)
        affinities.append(os.sched_getaffinity(0))

    with worker.on_cores((core,)):
        started = threading.Thread(target=work)
        started.start()
    go.set()
    started.join()
    assert affinities == [{core}]
    assert os.sched_getaffinity(0) == before


@pinned
def test_cores_that_are_not_there_are_refused() -> None:
    """With the ones there are."""
    with (
        pytest.raises(EngineError, match=r"cores 4095: not among those the process may use \(\d"),
        worker.on_cores((4095,)),
    ):
        pass


def test_a_result_is_returned_or_an_error_raised(executor: ThreadPoolExecutor) -> None:
    """What the work returns, or raises."""
    assert asyncio.run(worker.run(executor, divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.run(executor, divmod, 7, 0))
