"""The instrument's clock, which is injected: no other module of `turngap` reads the time.

`SystemClock` reads the host's monotonic clock (the one in the agent's spans); `FakeClock` jumps from deadline to
deadline, for tests.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_SAMPLE = 125_000
"""One sample at 8 kHz."""


BUSY_NS = 4 * NS_PER_MS
"""A clock that has waited for so long without giving up the processor rests now and then. A single spin is shorter."""
REST_EVERY_NS, REST_NS = NS_PER_MS // 2, 50_000
"""A tenth of the time: the system stops a thread in real time that takes over 95 % of a second, for 50 ms at once
(sched_rt_runtime_us)."""
OVERDUE_NS, WORK_A_REST = NS_PER_MS // 2, 15
"""With work due, a rest is taken so much later, and is as long as the work since the last one divided by the second."""
EMPTY_TURNS = 2.0
"""A turn of the event loop in which something was done takes longer than so many of the shortest ones."""


def to_ms(ns: int) -> float:
    """Return nanoseconds as milliseconds."""
    return ns / NS_PER_MS


class Clock(Protocol):
    """What the instrument needs from a clock."""

    def now_ns(self) -> int:
        """Nanoseconds on a monotonic clock."""
        ...

    def unix_ns(self) -> int:
        """Nanoseconds since 1970, for names and labels only, never for a duration."""
        ...

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at `deadline_ns` or as soon after it as possible; other tasks run meanwhile."""
        ...

    async def sleep_ns(self, duration_ns: int) -> None:
        """Sleep for that long without spinning: the return may be up to 1 ms late."""
        ...

    def rest(self) -> None:
        """Give up the processor for a moment if it was kept for long: to be called where there is always work."""
        ...


class SystemClock:
    """The host's monotonic clock; sleeps to `spin_ns` before a deadline, then yields to the loop until it is due.

    The spin yields (`asyncio.sleep(0)`), so that what arrives meanwhile is read and time-stamped at once. Where
    deadlines are so near that one spin follows the other, it rests: 50 µs in each half ms, in which nothing runs.
    """

    def __init__(self, spin_ns: int = 2 * NS_PER_MS) -> None:
        self._spin_ns = spin_ns
        self._rest_due_ns = self._rested_ns = 0
        self._turn_ns = NS_PER_MS
        self.spun_ns = 0
        """The CPU time that was spent on spinning: in turns of the event loop in which nothing else was done."""

    def now_ns(self) -> int:
        """Nanoseconds, CLOCK_MONOTONIC on Linux."""
        return time.perf_counter_ns()

    def unix_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        """Sleep, then spin the last `spin_ns`."""
        ahead = deadline_ns - self._spin_ns - time.perf_counter_ns()
        if ahead > 0:
            await self.sleep_ns(ahead)
        now_ns = time.perf_counter_ns()
        while now_ns < deadline_ns:
            if self._rest_due_ns <= now_ns < deadline_ns - REST_NS:
                self._rest_for_ns(REST_NS)
                now_ns = self._rested_ns
            await asyncio.sleep(0)
            began_ns, now_ns = now_ns, time.perf_counter_ns()
            self._count_turn(now_ns - began_ns)

    async def sleep_ns(self, duration_ns: int) -> None:
        """An ordinary sleep of the loop."""
        await asyncio.sleep(duration_ns / 1e9)
        self._rested_ns = time.perf_counter_ns()
        self._rest_due_ns = self._rested_ns + BUSY_NS

    def rest(self) -> None:
        """Rest if that is overdue: the longer the work since the last rest, the longer."""
        now_ns = time.perf_counter_ns()
        if now_ns > self._rest_due_ns + OVERDUE_NS:
            self._rest_for_ns(min(NS_PER_MS, max(REST_NS, (now_ns - self._rested_ns) // WORK_A_REST)))

    def _rest_for_ns(self, duration_ns: int) -> None:
        time.sleep(duration_ns / 1e9)  # the loop itself would wait for a whole ms
        self._rested_ns = time.perf_counter_ns()
        self._rest_due_ns = self._rested_ns + REST_EVERY_NS

    def _count_turn(self, turn_ns: int) -> None:
        """Count a turn of the loop as spinning if it was about as short as the shortest one."""
        self._turn_ns = min(self._turn_ns, turn_ns)
        if turn_ns < EMPTY_TURNS * self._turn_ns:
            self.spun_ns += turn_ns


class FakeClock:
    """A clock that is moved by its callers; a sleep moves it to its deadline."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time it was last moved to."""
        return self._now_ns

    def unix_ns(self) -> int:
        """Return the same time, as if the clock had started in 1970."""
        return self._now_ns

    def advance_ms(self, ms: float) -> None:
        """Move forward."""
        self._now_ns += round(ms * NS_PER_MS)

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        """Jump to the deadline."""
        self._now_ns = max(self._now_ns, deadline_ns)
        await asyncio.sleep(0)

    async def sleep_ns(self, duration_ns: int) -> None:
        """Jump by the duration."""
        await self.sleep_until_ns(self._now_ns + duration_ns)

    def rest(self) -> None:
        """Nothing: it takes no time."""
