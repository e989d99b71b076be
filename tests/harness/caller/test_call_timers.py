"""The timers of one call: whose error it is, and when nothing is called back any more."""

from __future__ import annotations

import asyncio

import pytest
from turngap.caller.call_timers import CallTimers
from turngap.caller.scheduler import Callback, Scheduler, Timer
from turngap.clock import FakeClock


class ScriptedScheduler(Scheduler):
    """Keeps its timers for the test to fire."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.timers: list[Timer] = []

    def call_at(self, deadline_ns: int, callback: Callback) -> Timer:
        self.timers.append(Timer(deadline_ns, callback))
        return self.timers[-1]

    def call_every(self, period_ns: int, first_ns: int, callback: Callback) -> Timer:
        self.timers.append(Timer(first_ns, callback, period_ns))
        return self.timers[-1]


def fire(timer: Timer) -> None:
    """Do what the scheduler does at the timer's deadline."""
    if timer.callback is not None:
        timer.callback(timer.deadline_ns)


def fail(due_ns: int) -> None:
    raise RuntimeError(f"no room at {due_ns}")


def test_an_error_ends_its_call_and_no_other() -> None:
    """The scheduler sees nothing of it; the call gets it, and calls back no more."""

    async def main() -> list[int]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        scheduler, called = ScriptedScheduler(), list[int]()
        timers = CallTimers(scheduler, over)
        timers.call_at(1, called.append)
        timers.call_every(20, 3, called.append)
        timers.call_at(2, fail)
        once, each, failing = scheduler.timers
        for timer in (once, each, failing, each):
            fire(timer)
        with pytest.raises(RuntimeError, match="no room at 2"):
            over.result()
        return called

    assert asyncio.run(main()) == [1, 3]


def test_a_call_that_is_over_leaves_no_timer() -> None:
    """Whether it is called once or again and again."""

    async def main() -> list[int]:
        scheduler, called = ScriptedScheduler(), list[int]()
        timers = CallTimers(scheduler, asyncio.get_running_loop().create_future())
        timers.call_at(1, called.append)
        timers.call_every(20, 3, called.append)
        timers.cancel()
        for timer in scheduler.timers:
            fire(timer)
        return called

    assert asyncio.run(main()) == []
