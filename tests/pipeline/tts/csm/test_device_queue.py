"""Work on the device's thread: the most urgent first, then in order of arrival, and an end that leaves none."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
from turngap_agent.tts.csm.device_queue import DeviceQueue, Urgency

LIMIT_S = 30


class Gate:
    """Work that blocks the thread until it is opened."""

    def __init__(self, queue: DeviceQueue) -> None:
        self._open, self.entered = threading.Event(), threading.Event()
        self.future = queue.submit(Urgency.LATER_FRAME, self._wait)
        assert self.entered.wait(LIMIT_S)

    def _wait(self) -> None:
        self.entered.set()
        self._open.wait(LIMIT_S)

    def open(self) -> None:
        self._open.set()


def test_the_most_urgent_work_goes_first() -> None:
    """What arrived while the thread worked; equals keep their order."""
    queue, order = DeviceQueue("test"), []
    gate = Gate(queue)
    arrivals = (Urgency.PREPARATION, Urgency.LATER_FRAME, Urgency.FIRST_FRAME, Urgency.LATER_FRAME)
    futures = [
        queue.submit(urgency, lambda number=number: order.append(number)) for number, urgency in enumerate(arrivals)
    ]
    gate.open()
    for future in futures:
        future.result(LIMIT_S)
    queue.close()
    assert order == [2, 1, 3, 0]


def test_only_frames_count_as_waiting() -> None:
    """Preparation does not."""
    queue = DeviceQueue("test")
    gate = Gate(queue)
    assert not queue.someone_waits()
    queue.submit(Urgency.PREPARATION, lambda: None)
    assert not queue.someone_waits()
    last = queue.submit(Urgency.LATER_FRAME, lambda: None)
    assert queue.someone_waits()
    gate.open()
    last.result(LIMIT_S)
    queue.close()


def test_an_error_is_raised_to_who_waits_and_the_thread_works_on() -> None:
    """Results too; cancelled work is never started."""
    queue, started = DeviceQueue("test"), []
    gate = Gate(queue)
    failing = queue.submit(Urgency.LATER_FRAME, lambda: 1 / 0)
    cancelled = queue.submit(Urgency.LATER_FRAME, lambda: started.append(1))
    fine = queue.executor(Urgency.LATER_FRAME).submit(divmod, 7, 2)
    assert cancelled.cancel()
    gate.open()
    with pytest.raises(ZeroDivisionError):
        failing.result(LIMIT_S)
    assert fine.result(LIMIT_S) == (3, 1)
    assert started == []
    queue.close()


def test_closing_finishes_the_work_that_runs_and_cancels_the_rest() -> None:
    """No work is accepted afterwards."""
    queue = DeviceQueue("test")
    gate = Gate(queue)
    waiting = queue.submit(Urgency.FIRST_FRAME, lambda: None)
    closing = threading.Thread(target=queue.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(LIMIT_S)
    assert not gate.future.done()
    gate.open()
    closing.join(LIMIT_S)
    assert gate.future.done()
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit(Urgency.FIRST_FRAME, lambda: None)
