"""Signals in a session: the first one ends it politely, a second one at once, an echo of the first changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from turngap.clock import FakeClock
from turngap.session.interruption import run_interruptible


class CallsUnderWay:
    """An announcer that notes what it is to show."""

    def __init__(self, *, calls_started: bool = True) -> None:
        self.calls_started = calls_started
        self.messages: list[str] = []

    def show_message(self, text: str) -> None:
        self.messages.append(text)


def send_two(first: signal.Signals, second: signal.Signals, apart_ms: float) -> tuple[bool, list[str]]:
    """Send this process two signals; return whether `work` came to its own end, and the messages."""
    clock, announcer = FakeClock(), CallsUnderWay()

    async def work(stop: asyncio.Event) -> bool:
        os.kill(os.getpid(), first)
        await stop.wait()
        clock.advance_ms(apart_ms)
        os.kill(os.getpid(), second)
        await asyncio.sleep(0.1)
        return True

    try:
        return run_interruptible(work, announcer, clock=clock), announcer.messages
    except KeyboardInterrupt:
        return False, announcer.messages


@pytest.mark.parametrize("apart_ms", [0.0, 900.0])
def test_a_sigterm_right_after_the_first_is_the_same_signal(apart_ms: float) -> None:
    """`timeout` sends it twice: the session finishes up all the same, and says so once."""
    assert send_two(signal.SIGTERM, signal.SIGTERM, apart_ms) == (True, ["interrupted; finishing up"])


def test_a_later_sigterm_ends_the_session_at_once() -> None:
    """After more than a second it is another one."""
    assert not send_two(signal.SIGTERM, signal.SIGTERM, 1100.0)[0]


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_counts_each_time(second: signal.Signals) -> None:
    """A person who presses it twice means it, however fast; so does another signal."""
    assert not send_two(signal.SIGINT, second, 0.0)[0]


def test_an_echo_does_not_disturb_the_clean_up_before_the_first_call() -> None:
    """The first SIGTERM cancels; what is then cleaned up is not cancelled again."""
    cleaned = []

    async def work(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await stop.wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.1)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work, CallsUnderWay(calls_started=False), clock=FakeClock())
    assert cleaned == [True]
