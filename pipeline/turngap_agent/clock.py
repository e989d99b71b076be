"""The agent's clock: the host's monotonic clock, and its anchor to wall time.

`time.perf_counter_ns` is CLOCK_MONOTONIC on Linux, so the times of two processes on one host agree exactly.
"""

from __future__ import annotations

import asyncio
import time


def now_ns() -> int:
    """Return nanoseconds on the host's monotonic clock."""
    return time.perf_counter_ns()


async def sleep_until_ns(deadline_ns: int) -> None:
    """Return at `deadline_ns` on the monotonic clock, less than 1 ms late: sleep, then yield to the loop until due.

    It is for fixed delays (scripted engines, fault injection): an event loop's own timer is up to 2 ms late.
    """
    while (left_ns := deadline_ns - now_ns()) > 0:  # noqa: ASYNC110 - a time is awaited, not an event
        await asyncio.sleep(max(0, left_ns - _SPIN_NS) / 1e9)


_SPIN_NS = 2_000_000


def _anchor_ns() -> int:
    """Return Unix time minus monotonic time, taken between the two closest of several readings."""
    best: tuple[int, int] | None = None
    for _ in range(16):
        before = time.perf_counter_ns()
        wall = time.time_ns()
        after = time.perf_counter_ns()
        if best is None or after - before < best[0]:
            best = (after - before, wall - (before + after) // 2)
    assert best is not None
    return best[1]


ANCHOR_UNIX_NS = _anchor_ns()
"""Add it to a monotonic time to get Unix time; taken once, so that spans keep their distances exactly."""
