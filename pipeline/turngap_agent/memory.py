"""How much of the host's memory this process holds, and how much more it could have; Linux's own figures."""

from __future__ import annotations

import os
from pathlib import Path

_MIB = 1 << 20
_CGROUP = Path("/sys/fs/cgroup")


def resident_mib() -> float:
    """Return what the process holds of the host's memory; 0 where the system does not say it."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def available_mib(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> float | None:
    """Return what a program can still have, without swap: of the host, or of the container; None if it is not known."""
    free: list[float] = []
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines() if ":" in line)
        free.append(int(lines["MemAvailable"].split()[0]) / 1024)
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        limit, used = ((cgroup / name).read_text("ascii") for name in ("memory.max", "memory.current"))
        free.append((int(limit) - int(used)) / _MIB)
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return min(free, default=None)
