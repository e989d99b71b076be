"""Ctrl-C and SIGTERM in a session: the first one while calls are placed ends it politely, any other at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from turngap.clock import NS_PER_MS, Clock, SystemClock

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_SIGNAL_NS = 1000 * NS_PER_MS
"""A SIGTERM or SIGHUP so soon after the last one is its echo: `timeout` signals the process, then its group. A person
who presses Ctrl-C twice means it."""


class Announcer(Protocol):
    """Shows messages to the user and knows whether calls are being placed; a progress display is one."""

    @property
    def calls_started(self) -> bool:
        """True once calls are placed."""
        ...

    def show_message(self, text: str) -> None:
        """Show one line."""
        ...


def run_interruptible(
    work: Callable[[asyncio.Event], Awaitable[Result]],
    announcer: Announcer,
    signals: Sequence[signal.Signals] = SIGNALS,
    clock: Clock | None = None,
) -> Result:
    """Run `work` on an event loop of its own and return its result.

    A signal while calls are placed sets the event that `work` gets; an earlier or a second one cancels it, except an
    echo (`SAME_SIGNAL_NS`). Signals reach the main thread only: in another one `work` runs without that.

    Raises:
        KeyboardInterrupt: the work was cancelled; its message, if it has one, says how to resume.
    """
    return asyncio.run(_watch_signals(work, announcer, signals, clock or SystemClock()))


async def _watch_signals(
    work: Callable[[asyncio.Event], Awaitable[Result]],
    announcer: Announcer,
    signals: Sequence[signal.Signals],
    clock: Clock,
) -> Result:
    stop = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        return await work(stop)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    last_ns: dict[signal.Signals, int] = {}

    def interrupt(number: signal.Signals) -> None:
        now_ns = clock.now_ns()
        echo = number is not signal.SIGINT and now_ns - last_ns.get(number, now_ns - SAME_SIGNAL_NS) < SAME_SIGNAL_NS
        last_ns[number] = now_ns
        if echo:
            return
        if announcer.calls_started and not stop.is_set():
            announcer.show_message("interrupted; finishing up")
            stop.set()
        else:
            task.cancel()

    for number in signals:
        loop.add_signal_handler(number, interrupt, number)
    try:
        return await work(stop)
    except asyncio.CancelledError as cancelled:
        raise KeyboardInterrupt(*cancelled.args) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
