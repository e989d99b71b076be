"""What the process has used: memory, threads, CPU time, context switches; what may not be read is None, with a reason.

Linux: /proc/self/status (proc(5)) for memory, getrusage(2) for the rest.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

_MIB = 1 << 20
STATUS = Path("/proc/self/status")
_HIDDEN = "the system shows none, and work went from thread to thread: it hides them (some containers do)"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process has used so far."""

    cpu_s: float
    """User and system time of all threads."""
    voluntary: int
    involuntary: int
    """Context switches of all threads."""
    threads: int
    memory_mib: float
    """Resident."""

    @classmethod
    def read(cls) -> Usage:
        """Return what has been used until now."""
        used, process = resource.getrusage(resource.RUSAGE_SELF), psutil.Process()
        with process.oneshot():
            threads, memory = process.num_threads(), process.memory_info().rss / _MIB
        return cls(used.ru_utime + used.ru_stime, used.ru_nvcsw, used.ru_nivcsw, threads, memory)


def read_peak_mib(status: Path = STATUS) -> tuple[float | None, str]:
    """Return the most memory that was resident so far, MiB; None and why where the system does not say."""
    try:
        lines = status.read_text("utf-8").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (peak_kib / 1024, "") if peak_kib else (None, f"{status} has no VmHWM: this system does not show it")
    return kib / 1024, ""


def describe_switches(before: Usage, after: Usage) -> tuple[dict[str, int] | None, str]:
    """Return the context switches between two readings; None and why where the system hides them."""
    if not after.voluntary and not after.involuntary:
        return None, _HIDDEN
    return {
        "voluntary": after.voluntary - before.voluntary,
        "involuntary": after.involuntary - before.involuntary,
    }, ""
