"""Tells of an event loop that stands still, while the agent serves: a line of the log with the code that holds it.

Unlike `loop_watch`, which notes blocks of 10 ms in the folder of a measured run, it watches every agent that serves,
looks ten times a second, and acts. A thread counts its own looks at which the loop had not turned, so that a process
that was stopped and continued is not taken for a loop that stood still. Native code that holds the interpreter holds
this thread too: it is told afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable

from turngap_agent.health.stacks import describe_stack, leave_out_loop

LOOK_S = 0.1
_log = logging.getLogger("turngap.health")


class Standstill:
    """Counts looks without a turn of the loop; pure. `look` returns the looks in a row."""

    def __init__(self) -> None:
        self._turns = self._seen = self.looks = 0

    def note_turn(self) -> None:
        """Note on the loop that it turns."""
        self._turns += 1

    def look(self) -> int:
        """Return how many looks in a row found no turn since the last one."""
        turned, self._seen = self._turns != self._seen, self._turns
        self.looks = 0 if turned else self.looks + 1
        return self.looks


class StandstillWatch:
    """Watches the running event loop until `close`."""

    def __init__(
        self, told_s: float, ended_s: float | None, count: Callable[[], None], end: Callable[[int], object] = os._exit
    ) -> None:
        """Args:
        told_s: a standstill so long is told, once.
        ended_s: one so long ends the process with code 2: nobody is served, and who watches it can start it again.
        count: counts one that is told.
        end: ends the process.
        """
        self._told, self._ended = max(2, round(told_s / LOOK_S)), ended_s and round(ended_s / LOOK_S)
        self._count, self._end = count, end
        self._standstill = Standstill()
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._stop = threading.Event()
        self._turn()
        threading.Thread(target=self._watch, name="standstill", daemon=True).start()

    def close(self) -> None:
        """Stop watching; it does not wait for the thread."""
        self._stop.set()
        self._beat.cancel()

    def _turn(self) -> None:
        self._standstill.note_turn()
        self._beat = self._loop.call_later(LOOK_S / 2, self._turn)

    def _watch(self) -> None:
        before = 0
        while not self._stop.wait(LOOK_S):
            looks = self._standstill.look()
            if looks == self._told:
                stack = leave_out_loop(describe_stack(sys._current_frames().get(self._loop_thread)))
                _log.error("the event loop stands still for %.1f s, in: %s", looks * LOOK_S, " < ".join(stack))
                self._count()
            if looks == 0 and before >= self._told:
                _log.warning("the event loop turns again, after %.1f s", before * LOOK_S)
            if self._ended and looks >= self._ended:
                _log.critical("the event loop stood still for %.0f s; the agent ends", looks * LOOK_S)
                logging.shutdown()
                self._end(2)
                return
            before = looks
