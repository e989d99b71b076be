"""One scheduler for all calls of a process: absolute deadlines, met by sleeping first and spinning at the end.

`asyncio.sleep` alone is sometimes late by milliseconds. A spin that yields to the loop is not, and keeps the receive
side alive: data that arrives meanwhile is read and time-stamped at once. While waiting, the scheduler watches the event
loop: each time the loop was blocked for more than 0.5 ms it records a row, the evidence for receive lateness.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np

from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import Int64

Callback = Callable[[int], object]
"""Called with its deadline in ns; must not block. An exception it raises ends the scheduler."""

SPIN_NS = 2 * NS_PER_MS
"""The last stretch before a deadline, in which only a spin is punctual."""
MAX_SLEEP_NS = 2 * NS_PER_MS
"""The longest single sleep: a whole number of ms, because epoll rounds timeouts up to the next one."""
STEP_NS = 100_000
"""One step of a spin; the clock is compared with its end."""
BATCH_NS = 250_000
"""Due callbacks run one after the other for this long, then the event loop gets its turn."""
STALL_NS = 500_000
"""The loop counts as blocked if it returns later than this."""


class Timer:
    """A pending callback."""

    __slots__ = ("callback", "deadline_ns", "period_ns")

    def __init__(self, deadline_ns: int, callback: Callback, period_ns: int = 0) -> None:
        self.deadline_ns = deadline_ns
        self.callback: Callback | None = callback
        self.period_ns = period_ns
        """0 for one that is called once."""

    def cancel(self) -> None:
        """Do not call the callback (again); harmless if it was called already."""
        self.callback = None


class Scheduler:
    """Calls back at absolute times on `clock`, in the order of deadlines, on the running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._not_empty = asyncio.Event()
        self._stalls: list[tuple[int, int]] = []

    def call_at(self, deadline_ns: int, callback: Callback) -> Timer:
        """Call `callback(deadline_ns)` at `deadline_ns`, as soon as possible if that is past.

        With less than 4 ms notice the callback may be up to 2 ms late.
        """
        return self._add(Timer(deadline_ns, callback))

    def call_every(self, period_ns: int, first_ns: int, callback: Callback) -> Timer:
        """Call `callback(deadline_ns)` at `first_ns` and each `period_ns` after it, until the timer is cancelled.

        Deadlines are absolute: a callback that comes late delays none of those after it.
        """
        return self._add(Timer(first_ns, callback, period_ns))

    def _add(self, timer: Timer) -> Timer:
        heapq.heappush(self._heap, (timer.deadline_ns, next(self._order), timer))
        self._not_empty.set()
        return timer

    def stalls(self, from_ns: int, to_ns: int) -> Int64:
        """Return rows (at_ns, late_ns), shape (m, 2): the loop returned at `at_ns`, having been blocked for `late_ns`.

        These are the stalls that overlap `from_ns` to `to_ns`. Stalls of under 2 ms may be missing, and longer ones may
        be up to 2 ms too short: the loop is checked every 2 ms.
        """
        first = bisect.bisect_left(self._stalls, (from_ns, 0))
        rows = [row for row in self._stalls[first:] if row[0] - row[1] <= to_ns]
        return np.array(rows, np.int64).reshape(-1, 2)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scheduler]:
        """Run the scheduler in the background of a block; an exception of a callback is raised when the block ends."""
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
                self._not_empty.clear()
                await self._not_empty.wait()
                continue
            now_ns = self._clock.now_ns()
            ahead_ns = self._heap[0][0] - now_ns
            if ahead_ns <= 0:
                await self._fire(now_ns)
            elif ahead_ns >= SPIN_NS + NS_PER_MS:
                sleep_ns = min(MAX_SLEEP_NS, (ahead_ns - SPIN_NS) // NS_PER_MS * NS_PER_MS)
                await self._clock.sleep_ns(sleep_ns)
                self._watch(now_ns + sleep_ns)
            else:
                step_ns = now_ns + min(STEP_NS, ahead_ns)
                await self._clock.sleep_until_ns(step_ns)
                self._watch(step_ns)

    async def _fire(self, start_ns: int) -> None:
        """Run the due callbacks, in batches, then yield so that data that arrived meanwhile is read."""
        heap, now_ns = self._heap, start_ns
        while heap and heap[0][0] <= now_ns and now_ns - start_ns < BATCH_NS:
            deadline_ns, _, timer = heapq.heappop(heap)
            if timer.callback is not None:
                timer.callback(deadline_ns)
                if timer.period_ns and timer.callback is not None:
                    timer.deadline_ns = deadline_ns + timer.period_ns
                    heapq.heappush(heap, (timer.deadline_ns, next(self._order), timer))
            now_ns = self._clock.now_ns()
        self._watch(start_ns)
        self._clock.rest()
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
