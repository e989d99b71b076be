"""How long a thread ran, and how long it could have run but waited for a core: the kernel's own account of it.

`/proc/…/schedstat` has three numbers: time on a core, time on a run queue (both ns), and the number of time slices
(Documentation/scheduler/sched-stats.rst of the Linux kernel).
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """Since the thread's start, ns."""

    ran_ns: int
    queued_ns: int
    """0 where the kernel does not report it."""


class RunQueue:
    """Reads the times of one thread again and again, 2 µs each time: its file stays open."""

    def __init__(self, file: int | None) -> None:
        self._file = file

    @classmethod
    def of_this_thread(cls) -> Self:
        """Return the reader of the calling thread; without schedstat (not Linux, or switched off) only its CPU time."""
        try:
            return cls(os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY))
        except OSError:
            return cls(None)

    def read(self) -> ThreadTimes:
        """Return the times now."""
        if self._file is None:
            return ThreadTimes(time.thread_time_ns(), 0)
        ran, queued, *_ = os.pread(self._file, 96, 0).split()
        return ThreadTimes(int(ran), int(queued))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
