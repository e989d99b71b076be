"""The clock rests where it would take the processor for itself: by counts on a time of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from turngap import clock as clocks
from turngap.clock import NS_PER_MS, REST_NS, SystemClock


class SlowTime:
    """A time that goes on by 2 µs whenever it is read, and by what is slept."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.rests = 0

    def perf_counter_ns(self) -> int:
        self.now_ns += 2_000
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.rests += 1
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def slow_time(monkeypatch: pytest.MonkeyPatch) -> SlowTime:
    slow = SlowTime()
    sleep = asyncio.sleep

    async def sleep_at_once(seconds: float) -> None:
        slow.now_ns += round(seconds * 1e9)
        await sleep(0)

    monkeypatch.setattr(clocks, "time", slow)
    monkeypatch.setattr(asyncio, "sleep", sleep_at_once)
    return slow


def test_deadlines_one_after_the_other_leave_a_tenth_of_the_time(slow_time: SlowTime) -> None:
    """A thread in real time that never rests is stopped for 50 ms in each second; no deadline is missed by a rest."""
    late_ns: list[int] = []

    async def main() -> None:
        clock = SystemClock()
        for deadline_ns in range(100_000, 1_000_000_000, 100_000):
            await clock.sleep_until_ns(deadline_ns)
            late_ns.append(slow_time.now_ns - deadline_ns)

    asyncio.run(main())
    assert 0.08 < slow_time.rests * REST_NS / 1e9 < 0.12
    assert max(late_ns) < 10_000


def test_a_spin_alone_does_not_rest(slow_time: SlowTime) -> None:
    """One call has a frame every 20 ms: it sleeps, and spins for 2 ms without a rest, so that what comes is read."""

    async def main() -> None:
        clock = SystemClock()
        for frame in range(1, 51):
            await clock.sleep_until_ns(frame * 20 * NS_PER_MS)

    asyncio.run(main())
    assert slow_time.rests == 0
