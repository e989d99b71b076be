"""Attempts that were cancelled while their engines were at work: the next one begins when they have let go.

An engine finishes the piece it is at (an encoder pass, a sentence) whatever happens to its reader. Without waiting for
that, a caller who pauses often would have several attempts at work at once, each slowing the one that counts.
"""

from __future__ import annotations

import asyncio
import logging

from turngap_agent.meter import Meter

ABANDONED_S = 2.0
"""Work that has not stopped so long after it was cancelled is no longer waited for."""
_log = logging.getLogger("turngap.call")


class Leaving:
    """One call's cancelled attempts."""

    def __init__(self) -> None:
        self._left: list[tuple[asyncio.Task[None], Meter]] = []

    def add(self, task: asyncio.Task[None], meter: Meter) -> None:
        """An attempt's task was cancelled; `meter` knows of its engines' work."""
        self._left.append((task, meter))

    def __bool__(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._left)

    async def gone(self, within_s: float | None = None) -> bool:
        """Return when the work of all that were cancelled has stopped, or is given up after `within_s` each.

        False where an engine was given up: its work goes on beside what comes next.
        """
        within_s = ABANDONED_S if within_s is None else within_s
        stopped = True
        for left in tuple(self._left):
            task, meter = left
            await asyncio.wait([task])
            if not await meter.stopped(within_s):
                stopped = False
                _log.warning("an engine is still at work %g s after its attempt was cancelled", within_s)
            if left in self._left:
                self._left.remove(left)
        return stopped
