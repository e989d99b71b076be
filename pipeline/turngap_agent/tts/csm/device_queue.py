"""The one thread that uses the device, and the order of the work that waits for it."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from enum import IntEnum
from typing import Any, ParamSpec, TypeVar

from turngap_agent import worker

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Urgency(IntEnum):
    """Which work goes first; work of the same urgency goes in the order of its arrival."""

    FIRST_FRAME = 0
    """A caller hears nothing until it is done."""
    LATER_FRAME = 1
    """A caller still hears the frames before it."""
    PREPARATION = 2
    """Nobody waits for it."""


class DeviceQueue:
    """A thread for blocking work, one after the other, the most urgent first; what runs is never interrupted."""

    def __init__(self, name: str, cores: worker.Cores = None) -> None:
        """`cores`: the cores that the thread may run on."""
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._executors = {urgency: _Queued(self, urgency) for urgency in Urgency}
        # A daemon: an engine that was never closed must not keep the interpreter.
        self._thread = threading.Thread(target=self._run, args=(cores,), name=name, daemon=True)
        self._thread.start()

    def executor(self, urgency: Urgency) -> Executor:
        """Return an executor whose work has this urgency."""
        return self._executors[urgency]

    def someone_waits(self, least: Urgency = Urgency.LATER_FRAME) -> bool:
        """Whether work of at least this urgency waits for the thread; by default frames do, preparation does not."""
        with self._changed:
            return bool(self._waiting) and self._waiting[0][0] <= least

    def submit(self, urgency: Urgency, work: Callable[[], Result]) -> Future[Result]:
        """Queue `work`; return its future, which can be cancelled until it starts.

        Raises:
            RuntimeError: the queue is closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the device's queue is closed")
            heapq.heappush(self._waiting, (urgency, next(self._numbers), future, work))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish the work that runs, cancel what waits, and end the thread; blocks until then."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify()
        for _, _, future, _ in waiting:
            future.cancel()
        self._thread.join()

    def _run(self, cores: worker.Cores) -> None:
        worker.pin(cores)
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                _, _, future, work = heapq.heappop(self._waiting)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - raised to who waits for it, whatever it is
                future.set_exception(error)
                del error
            else:
                future.set_result(result)
            del future, work


class _Queued(Executor):
    """The queue as the standard library's executor, at one urgency."""

    def __init__(self, queue: DeviceQueue, urgency: Urgency) -> None:
        self._queue, self._urgency = queue, urgency

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        return self._queue.submit(self._urgency, lambda: fn(*args, **kwargs))
