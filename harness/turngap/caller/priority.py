"""The priority of the callers' thread: above the agent's where the system allows it, so that frames are on time.

On two busy cores the thread would otherwise wait for an engine's time slice, milliseconds each time, and the instrument
would invalidate its own turns. The callers do little work; to the agent they cost what any other process would.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OWN_NICE = os.getpriority(os.PRIO_PROCESS, 0)
"""The niceness at which this process was started; the niceness of child processes is relative to it."""
RAISED_NICE = -10
"""Used where real-time scheduling is not permitted."""
SWITCH_INTERVAL_S = 0.0005
"""How long the callers' thread waits for another that holds the interpreter; Python's own 5 ms would spoil a turn."""


@contextmanager
def raised_priority() -> Iterator[str]:
    """Run the block's thread, but no child process, in real time (SCHED_FIFO 1), else at niceness -10, where permitted.

    Both need root, CAP_SYS_NICE or a limit that allows them (`ulimit -r`, `ulimit -e`). Yield the priority in effect,
    as `describe_priority` does.
    """
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, RAISED_NICE)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield describe_priority()
    finally:
        sys.setswitchinterval(switch_interval_s)
        if policy is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, OWN_NICE)


@contextmanager
def short_collections() -> Iterator[None]:
    """Keep the garbage collector from stopping the thread for longer than a frame while the block runs.

    What is loaded by now is not examined again, and neither is what has survived for long: what an agent's flood leaves
    behind would take 50 ms. Garbage in circles waits for the end of the block.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(thresholds[0], thresholds[1], 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def describe_priority() -> str:
    """Return the calling thread's priority in words: "real time (SCHED_FIFO 1)", or its niceness."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
        return "real time (SCHED_FIFO 1)"
    return f"niceness {os.getpriority(os.PRIO_PROCESS, 0)}"
