"""Calls that are planned for a moment each, whatever others are under way then: an open-loop load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallRecord
from turngap.session.agent_run import AssignedCall

NOTICE_NS = 100 * NS_PER_MS
"""The first moment lies so far ahead when the plan begins."""
LOOK_NS = 50 * NS_PER_MS
"""So often a wait for the next moment looks whether the calls have been halted."""


@dataclass(frozen=True, slots=True)
class TimedCall:
    """A call and its moment."""

    assigned: AssignedCall
    start_ns: int
    """After the beginning of the plan."""


Arrange = Callable[[Sequence[AssignedCall]], Sequence[TimedCall]]
"""Plans moments for calls that are to be scored; it may add others, which keep the load as it is."""
OnCall = Callable[[CallRecord], None]
"""Takes the record of each call that was placed, once it has ended."""
PlaceOne = Callable[[AssignedCall, int], Coroutine[Any, Any, None]]
"""Places a call that was planned for that moment, and scores it."""


async def place_timed_calls(
    timed: Sequence[TimedCall], place: PlaceOne, *, clock: Clock, ended: Callable[[AssignedCall], bool]
) -> None:
    """Place each call at its moment, without waiting for others; return when all that were placed are over.

    `ended` is asked before each call: no further one is placed for a run once it is true.
    """
    origin_ns = clock.now_ns() + NOTICE_NS
    under_way: list[asyncio.Task[None]] = []
    try:
        for each in sorted(timed, key=lambda each: each.start_ns):
            due_ns = origin_ns + each.start_ns
            while (ahead_ns := due_ns - clock.now_ns()) > 0 and not ended(each.assigned):
                await clock.sleep_ns(min(LOOK_NS, ahead_ns))
            if ended(each.assigned):
                continue
            under_way.append(asyncio.create_task(place(each.assigned, due_ns)))
        await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()
