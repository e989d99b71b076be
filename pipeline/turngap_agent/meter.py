"""How long engines have worked for one attempt at a turn, and whether any still does.

An attempt carries its `Meter` in a context variable; whatever works for it, on the loop or on a worker's thread, notes
it with `Meter.busy`. Time is counted from when a thread takes the work up until it lets go, queueing left out; on cores
that others use too it holds the time the thread had to wait for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from turngap_agent.clock import now_ns


class Meter:
    """One attempt's; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done_ns = 0
        self._since_ns: dict[object, int] = {}
        self._rests_ns: dict[object, int] = {}
        self._waiting: list[Future[None]] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """An engine works for the attempt inside this context."""
        work = object()
        with self._lock:
            self._since_ns[work] = now_ns()
        try:
            yield
        finally:
            with self._lock:
                self._done_ns += now_ns() - self._since_ns.pop(work)
                told = [] if self._since_ns else self._waiting
                if told:
                    self._waiting = []
            for future in told:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside `busy`: a thread stands still, which is no work."""
        rest = object()
        with self._lock:
            self._rests_ns[rest] = now_ns()
        try:
            yield
        finally:
            with self._lock:
                self._done_ns -= now_ns() - self._rests_ns.pop(rest)

    @property
    def busy_ms(self) -> float:
        """Time of all engines together, work that still goes on included up to now."""
        with self._lock:
            now = now_ns()
            going_on = sum(now - since for since in self._since_ns.values())
            standing = sum(now - since for since in self._rests_ns.values())
            return (self._done_ns + going_on - standing) / 1e6

    async def wait_idle(self, within_s: float) -> bool:
        """Return when nothing works for the attempt; False when something still does after `within_s`."""
        with self._lock:
            if not self._since_ns:
                return True
            future: Future[None] = Future()
            self._waiting.append(future)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(future), within_s)
            return True
        return False


CURRENT: ContextVar[Meter | None] = ContextVar("meter", default=None)
"""The meter of the attempt the running task belongs to; None outside of attempts."""


def current() -> Meter:
    """The meter of the attempt the running task belongs to; outside of attempts one that nobody reads."""
    return CURRENT.get() or Meter()
