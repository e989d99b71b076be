"""Our own place in the scheduler's queue: ahead of the agent where the system lets us, so that frames leave in time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

OWN_NICE = os.getpriority(os.PRIO_PROCESS, 0)
"""As the user started us; what we start is placed from here."""
AHEAD_NICE = -10
"""Enough to be woken before an engine's threads; the callers use a small part of one core."""


@contextmanager
def ahead() -> Iterator[int]:
    """Run the block with niceness -10, where we may (root, CAP_SYS_NICE); gives the niceness that holds in it."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, AHEAD_NICE)
    try:
        yield os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, OWN_NICE)
