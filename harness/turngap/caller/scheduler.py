"""One scheduler for all calls of a process: absolute deadlines, kept by sleeping first and spinning at the end.

`asyncio.sleep` alone is late by milliseconds now and then; a spin that yields to the loop is not, and keeps the
receive side alive: what arrives during it is read, and time-stamped, at once. While it waits the scheduler watches
the event loop: whenever the loop was away for more than 0.5 ms it keeps a row, the evidence for receive lateness.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np

from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import Int64

Callback = Callable[[int], object]
"""Called with its deadline in ns; must not block, and what it raises ends the scheduler."""

SPIN_NS = 2 * NS_PER_MS
"""The last stretch before a deadline, in which nothing but a spin is punctual."""
BEAT_NS = 2 * NS_PER_MS
"""Longest sleep in one piece: a whole number of ms, because epoll rounds timeouts up to the next one."""
STEP_NS = 100_000
"""One piece of a spin; the clock is compared with its end."""
BATCH_NS = 250_000
"""Callbacks that are due run together for this long, then the loop gets its turn."""
STALL_NS = 500_000
"""The loop is away when it returns later than this."""


class Timer:
    """A pending callback."""

    __slots__ = ("callback", "deadline_ns")

    def __init__(self, deadline_ns: int, callback: Callback) -> None:
        self.deadline_ns = deadline_ns
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Never call it; harmless when it was called already."""
        self.callback = None


class Scheduler:
    """Calls back at absolute times on `clock`, in the order of the deadlines, on the running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._filled = asyncio.Event()
        self._stalls: list[tuple[int, int]] = []

    def at(self, deadline_ns: int, callback: Callback) -> Timer:
        """Call `callback(deadline_ns)` at `deadline_ns`, at the next chance when that is past.

        A deadline given less than 4 ms ahead may be kept up to 2 ms late.
        """
        timer = Timer(deadline_ns, callback)
        heapq.heappush(self._heap, (deadline_ns, next(self._order), timer))
        self._filled.set()
        return timer

    def stalls(self, from_ns: int, to_ns: int) -> Int64:
        """Rows (at_ns, late_ns), shape (m, 2): the loop came back at `at_ns`, having been away for `late_ns`.

        Those whose absence touches the time from `from_ns` to `to_ns`. Absences that fall between two beats (under
        2 ms) may be missing, and longer ones be up to 2 ms short.
        """
        rows = [row for row in self._stalls if row[0] >= from_ns and row[0] - row[1] <= to_ns]
        return np.array(rows, np.int64).reshape(-1, 2)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scheduler]:
        """Run it in the background of a block; a callback's exception comes out of the block."""
        task = asyncio.create_task(self.run(), name="scheduler")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def run(self) -> None:
        """Serve deadlines until cancelled."""
        while True:
            self._drop_cancelled()
            if not self._heap:
                self._filled.clear()
                await self._filled.wait()
                continue
            now_ns = self._clock.now_ns()
            ahead_ns = self._heap[0][0] - now_ns
            if ahead_ns <= 0:
                await self._fire(now_ns)
            elif ahead_ns >= SPIN_NS + NS_PER_MS:
                rest_ns = min(BEAT_NS, (ahead_ns - SPIN_NS) // NS_PER_MS * NS_PER_MS)
                await self._clock.sleep_ns(rest_ns)
                self._watch(now_ns + rest_ns)
            else:
                step_ns = now_ns + min(STEP_NS, ahead_ns)
                await self._clock.sleep_until_ns(step_ns)
                self._watch(step_ns)

    async def _fire(self, began_ns: int) -> None:
        """Run what is due, in batches, then yield so that whatever came meanwhile is read."""
        now_ns = began_ns
        while self._heap and self._heap[0][0] <= now_ns and now_ns - began_ns < BATCH_NS:
            deadline_ns, _, timer = heapq.heappop(self._heap)
            if timer.callback is not None:
                timer.callback(deadline_ns)
            now_ns = self._clock.now_ns()
        self._watch(began_ns)
        before_ns = self._clock.now_ns()
        await asyncio.sleep(0)
        self._watch(before_ns)

    def _watch(self, expected_ns: int) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - expected_ns > STALL_NS:
            self._stalls.append((now_ns, now_ns - expected_ns))

    def _drop_cancelled(self) -> None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
