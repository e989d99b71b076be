"""The timers of one call: they end with it, and an error in one is the call's, not the scheduler's."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from turngap.caller.scheduler import Callback, Scheduler, Timer


class CallTimers:
    """What one call has still to do at its times."""

    def __init__(self, scheduler: Scheduler, over: asyncio.Future[Any]) -> None:
        """`over` is done once the call is over; it gets the exception that a callback raises."""
        self._scheduler = scheduler
        self._over = over
        self._pending: set[Timer] = set()

    def call_at(self, deadline_ns: int, callback: Callback) -> None:
        """Call `callback(deadline_ns)` at `deadline_ns`, unless the call is over by then."""

        def call(due_ns: int) -> None:
            self._pending.discard(timer)
            self._guard(callback, due_ns)

        timer = self._scheduler.call_at(deadline_ns, call)
        self._pending.add(timer)

    def call_every(self, period_ns: int, first_ns: int, callback: Callback) -> None:
        """Call `callback(deadline_ns)` at `first_ns` and each `period_ns` after it, until the call is over."""
        self._pending.add(self._scheduler.call_every(period_ns, first_ns, partial(self._guard, callback)))

    def cancel(self) -> None:
        """Call nothing any more."""
        for timer in self._pending:
            timer.cancel()

    def _guard(self, callback: Callback, due_ns: int) -> None:
        """Call back unless the call is over."""
        if not self._over.done():
            try:
                callback(due_ns)
            except Exception as error:  # noqa: BLE001
                self._over.set_exception(error)
