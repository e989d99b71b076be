"""The scheduler: order, punctuality and the record of stalls, on a clock that jumps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

import pytest
from turngap.caller.scheduler import STALL_NS, Scheduler
from turngap.clock import NS_PER_MS, FakeClock, SystemClock


def run(body: Callable[[Scheduler, FakeClock], Coroutine[None, None, None]]) -> None:
    """Run a test's body with a scheduler in the background."""

    async def main() -> None:
        clock = FakeClock()
        async with Scheduler(clock).running() as scheduler:
            await body(scheduler, clock)

    asyncio.run(main())


def test_callbacks_run_in_the_order_of_their_deadlines() -> None:
    """Whatever the order they were given in, and exactly at their deadlines on a clock that is punctual."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        deadlines = [clock.now_ns() + n * NS_PER_MS * 7 for n in range(1, 200)]
        seen: list[tuple[int, int]] = []
        done = asyncio.Event()
        for deadline in random.Random(3).sample(deadlines, len(deadlines)):
            scheduler.call_at(deadline, lambda due: seen.append((due, clock.now_ns())))
        scheduler.call_at(deadlines[-1] + 1, lambda due: done.set())
        await done.wait()
        assert seen == [(deadline, deadline) for deadline in deadlines]

    run(body)


def test_equal_deadlines_keep_their_order() -> None:
    """Two frames due at one moment leave in the order in which they were scheduled."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        seen: list[int] = []
        done = asyncio.Event()
        at = clock.now_ns() + 50 * NS_PER_MS
        for index in range(10):
            scheduler.call_at(at, lambda due, index=index: seen.append(index))  # type: ignore[misc]
        scheduler.call_at(at, lambda due: done.set())
        await done.wait()
        assert seen == list(range(10))

    run(body)


def test_a_callback_may_ask_for_the_next() -> None:
    """A chain of absolute deadlines does not drift, also when a callback takes long."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        start, seen = clock.now_ns(), []
        done = asyncio.Event()

        def frame(due: int) -> None:
            seen.append(due - start)
            clock.advance_ms(15)
            if len(seen) < 100:
                scheduler.call_at(due + 20 * NS_PER_MS, frame)
            else:
                done.set()

        scheduler.call_at(start + 20 * NS_PER_MS, frame)
        await done.wait()
        assert seen == [n * 20 * NS_PER_MS for n in range(1, 101)]

    run(body)


def test_a_repeated_callback_keeps_its_absolute_deadlines() -> None:
    """However long it takes; cancelled, by itself or from outside, it comes no more."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        start = clock.now_ns()
        seen: list[int] = []
        other: list[int] = []
        done = asyncio.Event()

        def frame(due: int) -> None:
            seen.append(due - start)
            clock.advance_ms(15)
            if len(seen) == 50:
                timer.cancel()
            if len(seen) == 20:
                second.cancel()

        timer = scheduler.call_every(20 * NS_PER_MS, start + 20 * NS_PER_MS, frame)
        second = scheduler.call_every(20 * NS_PER_MS, start + 25 * NS_PER_MS, lambda due: other.append(due - start))
        scheduler.call_at(start + 1500 * NS_PER_MS, lambda due: done.set())
        await done.wait()
        assert seen == [n * 20 * NS_PER_MS for n in range(1, 51)]
        assert other == [n * 20 * NS_PER_MS + 5 * NS_PER_MS for n in range(1, 20)]

    run(body)


def test_cancelled_callbacks_never_come() -> None:
    """A cancelled timer is dropped, and cancelling it again does no harm."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        seen: list[str] = []
        done = asyncio.Event()
        timer = scheduler.call_at(clock.now_ns() + NS_PER_MS, lambda due: seen.append("cancelled"))
        scheduler.call_at(clock.now_ns() + 5 * NS_PER_MS, lambda due: done.set())
        timer.cancel()
        timer.cancel()
        await done.wait()
        assert seen == []

    run(body)


def test_a_stalled_loop_is_recorded_with_its_length() -> None:
    """A loop that was away is a row (came back at, away for) that touches the given interval, and no other."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        start = clock.now_ns()
        done = asyncio.Event()
        scheduler.call_at(start + 100 * NS_PER_MS, lambda due: clock.advance_ms(8))
        scheduler.call_at(start + 200 * NS_PER_MS, lambda due: done.set())
        await done.wait()
        assert scheduler.stalls(start, clock.now_ns()).tolist() == [[start + 108 * NS_PER_MS, 8 * NS_PER_MS]]
        assert len(scheduler.stalls(start + 104 * NS_PER_MS, start + 105 * NS_PER_MS)) == 1
        assert scheduler.stalls(start, start + 99 * NS_PER_MS).shape == (0, 2)
        assert scheduler.stalls(start + 109 * NS_PER_MS, clock.now_ns()).shape == (0, 2)

    run(body)


def test_a_foreign_task_that_blocks_is_seen() -> None:
    """Not only our own callbacks: any task that holds the loop while the scheduler waits leaves a row."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        start = clock.now_ns()
        done = asyncio.Event()
        scheduler.call_at(start + 20 * NS_PER_MS, lambda due: done.set())
        await asyncio.sleep(0)
        clock.advance_ms(6)
        await done.wait()
        stalls = scheduler.stalls(start, clock.now_ns())
        assert len(stalls) == 1
        assert STALL_NS < stalls[0, 1] <= 6 * NS_PER_MS

    run(body)


def test_a_punctual_loop_leaves_no_rows() -> None:
    """Sleeping and spinning are no stalls."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        start = clock.now_ns()
        done = asyncio.Event()
        scheduler.call_at(start + 3_000 * NS_PER_MS, lambda due: done.set())
        await done.wait()
        assert len(scheduler.stalls(start, clock.now_ns())) == 0

    run(body)


def test_an_idle_scheduler_wakes_for_new_work() -> None:
    """With nothing to do it waits; a deadline given later is served."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        done = asyncio.Event()
        scheduler.call_at(clock.now_ns(), lambda due: done.set())
        await done.wait()

    run(body)


def test_a_callback_that_raises_is_not_swallowed() -> None:
    """Its exception is raised by the block that runs the scheduler."""

    async def body(scheduler: Scheduler, clock: FakeClock) -> None:
        def broken(due: int) -> None:
            raise RuntimeError("broken callback")

        scheduler.call_at(clock.now_ns(), broken)
        for _ in range(3):
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="broken callback"):
        run(body)


def test_nothing_is_called_before_its_time_on_the_real_clock() -> None:
    """Late it may be, early never."""

    async def main() -> list[int]:
        clock, early = SystemClock(), []
        done = asyncio.Event()
        async with Scheduler(clock).running() as scheduler:
            start = clock.now_ns()
            for n in range(1, 6):
                scheduler.call_at(start + n * 5 * NS_PER_MS, lambda due: early.append(clock.now_ns() - due))
            scheduler.call_at(start + 26 * NS_PER_MS, lambda due: done.set())
            await done.wait()
        return early

    early = asyncio.run(main())
    assert len(early) == 5
    assert min(early) >= 0
