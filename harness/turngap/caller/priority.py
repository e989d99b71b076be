"""Our own place in the scheduler's queue: ahead of the agent where the system lets us, so that frames leave in time.

On two busy cores a woken caller otherwise waits for an engine's time slice, milliseconds each time, and the instrument
spoils its own turns. What the callers do is little, and the agent pays for it as it would for any other process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OWN_NICE = os.getpriority(os.PRIO_PROCESS, 0)
"""As the user started us; what we start is placed from here."""
AHEAD_NICE = -10
"""Where real-time scheduling is not to be had."""
SWITCH_INTERVAL_S = 0.0005
"""How long the callers' thread waits for another that holds the interpreter; Python's own 5 ms would spoil a turn."""


@contextmanager
def ahead() -> Iterator[str]:
    """Run the block's own thread, and no child, in real time (SCHED_FIFO 1), else at niceness -10, where we may.

    Gives what holds in it: both need root, CAP_SYS_NICE or a limit (`ulimit -r`, `ulimit -e`) that allows them.
    """
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, AHEAD_NICE)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield describe()
    finally:
        sys.setswitchinterval(switch_interval_s)
        if policy is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, OWN_NICE)


def describe() -> str:
    """The calling thread's place: "real time", or its niceness."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
        return "real time (SCHED_FIFO 1)"
    return f"niceness {os.getpriority(os.PRIO_PROCESS, 0)}"
