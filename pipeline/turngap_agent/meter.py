"""How long engines worked for one attempt at a turn, and whether any still does.

An attempt has its `Meter` in a context variable; whatever works for it, on the loop or on a worker's thread, notes that
with `Meter.busy`. Time counts from when a thread starts the work until it stops, without queueing; on shared cores it
includes the time the thread waited for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar

from turngap_agent.clock import now_ns


class Meter:
    """The meter of one attempt, or of a part of it that counts for a `parent` too; safe from any thread."""

    def __init__(self, parent: Meter | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._done_ns = 0
        self._since_ns: dict[object, int] = {}
        self._idle_ns: dict[object, int] = {}
        self._waiters: list[Future[None]] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time inside this context as an engine's work for the attempt."""
        work = object()
        with self._lock:
            self._since_ns[work] = now_ns()
        try:
            with nullcontext() if self._parent is None else self._parent.busy():
                yield
        finally:
            with self._lock:
                self._done_ns += now_ns() - self._since_ns.pop(work)
                waiters = [] if self._since_ns else self._waiters
                if waiters:
                    self._waiters = []
            for future in waiters:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Leave out the time inside this context, within `busy`: the thread waits."""
        rest = object()
        with self._lock:
            self._idle_ns[rest] = now_ns()
        try:
            with nullcontext() if self._parent is None else self._parent.idle():
                yield
        finally:
            with self._lock:
                self._done_ns -= now_ns() - self._idle_ns.pop(rest)

    @property
    def busy_ms(self) -> float:
        """The time of all engines together, current work included, in milliseconds."""
        with self._lock:
            now = now_ns()
            running = sum(now - since for since in self._since_ns.values())
            idle = sum(now - since for since in self._idle_ns.values())
            return (self._done_ns + running - idle) / 1e6

    @property
    def is_busy(self) -> bool:
        """Whether an engine works for it now."""
        with self._lock:
            return bool(self._since_ns)

    async def wait_idle(self, within_s: float) -> bool:
        """Return True when nothing works for the attempt any more; False if something still does after `within_s`."""
        with self._lock:
            if not self._since_ns:
                return True
            future: Future[None] = Future()
            self._waiters.append(future)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(future), within_s)
            return True
        return False


CURRENT: ContextVar[Meter | None] = ContextVar("meter", default=None)
"""The meter of the attempt that the running task belongs to; None outside attempts."""


def current() -> Meter:
    """Return the meter of the attempt that the running task belongs to; outside attempts one that nobody reads."""
    return CURRENT.get() or Meter()
