"""Engines' work counted by attempt: what runs at once, on which thread, and when all of it has stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from turngap_agent import clock, meter, worker
from turngap_agent.meter import Meter


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The meter's clock in ns; the test moves it."""
    times = [0]
    monkeypatch.setattr(meter, "now_ns", lambda: times[0])
    return times


def test_work_is_added_up_over_all_engines(now: list[int]) -> None:
    """Two at once count twice; current work counts up to now; idle time does not."""
    one = Meter()
    with one.busy():
        now[0] = 10_000_000
        with one.busy():
            now[0] = 15_000_000
            assert one.busy_ms == 20
    now[0] = 99_000_000
    assert one.busy_ms == 20


def test_idle_time_is_not_work(now: list[int]) -> None:
    """A thread that waits for its reader is inside its work, and does none."""
    one = Meter()
    with one.busy():
        now[0] = 10_000_000
        with one.idle():
            now[0] = 25_000_000
            assert one.busy_ms == 10
            now[0] = 30_000_000
        assert one.busy_ms == 10
    assert one.busy_ms == 10


def test_work_that_fails_counts(now: list[int]) -> None:
    """An exception ends it like any other end."""
    one = Meter()

    def fail() -> None:
        with one.busy():
            now[0] = 3_000_000
            raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        fail()
    assert one.busy_ms == 3
    assert asyncio.run(one.wait_idle(0))


def test_a_thread_counts_for_the_attempt_it_works_for() -> None:
    """The running task's meter, not another's; queueing for the thread is not work."""
    first, second = Meter(), Meter()
    release = threading.Event()

    async def ask(counted: Meter, work) -> None:
        meter.CURRENT.set(counted)
        await worker.run(pool, work)

    async def both() -> None:
        one = asyncio.create_task(ask(first, lambda: release.wait(10)))
        two = asyncio.create_task(ask(second, lambda: None))
        while first.busy_ms == 0:  # noqa: ASYNC110 - a thread is waited for
            await asyncio.sleep(0.001)
        assert second.busy_ms == 0
        assert not await first.wait_idle(0.001)
        release.set()
        await asyncio.gather(one, two)
        assert await first.wait_idle(10)

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(both())
    assert first.busy_ms > 0


def test_a_stream_counts_for_the_attempt_that_reads_it() -> None:
    """Until its work has stopped, though its reader is gone before."""
    counted = Meter()
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        release.wait(10)
        yield 2

    async def read_one() -> None:
        meter.CURRENT.set(counted)
        stream = worker.iterate(pool, items)
        async for _ in stream:
            break
        await stream.aclose()
        assert not await counted.wait_idle(0.001)
        release.set()
        assert await counted.wait_idle(10)

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(read_one())
    assert counted.busy_ms > 0


def test_a_waiter_that_gave_up_is_not_woken() -> None:
    """A wait that ran out, or was cancelled, does not disturb the work's end."""

    async def give_up() -> None:
        one = Meter()
        with one.busy():
            assert not await one.wait_idle(0.001)
            waiting = asyncio.create_task(one.wait_idle(10))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert await one.wait_idle(0)

    asyncio.run(give_up())


def test_the_clock_is_the_agents() -> None:
    """The meter reads the same clock as the spans."""
    assert meter.now_ns is clock.now_ns
