"""The control groups around a process: the limits that a container gives it, and how often they have stopped it.

Both versions are read (Linux, `admin-guide/cgroup-v2`, `admin-guide/cgroup-v1` and `scheduler/sched-bwc`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PROC, MOUNT = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes a number of about 2^63 where there is no limit."""
_NS_PER_S, _US_PER_S = 1_000_000_000, 1_000_000
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The tightest limits of all groups around a process; None for none, or where the system does not say."""

    cores: float | None = None
    """Processor time a second, as a number of cores."""
    memory_bytes: int | None = None
    throttled_periods: int = 0
    """How often it has been stopped because its processor time was used up."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """How long and how often the groups have been stopped, since each was made."""

    seconds: float
    periods: int


def read_control_group(root: Path = Path("/")) -> ControlGroup:
    """Return the limits of this process's group and of the groups around it; `root` replaces `/`, for tests."""
    proc, mount = root / PROC.relative_to("/"), root / MOUNT.relative_to("/")
    cpu, memory = (list_group_folders(controller, "self", proc, mount) for controller in ("cpu", "memory"))
    throttling = read_throttling(cpu)
    return ControlGroup(
        _find_least(_read_cores, cpu),
        _find_least(_read_memory_bytes, memory),
        throttling.periods if throttling is not None else 0,
    )


def list_group_folders(controller: str, pid: int | str, proc: Path = PROC, mount: Path = MOUNT) -> list[Path]:
    """Return the folders of the process's groups that `controller` may limit: its own first, then those around it.

    Inside a container the group's path may be the host's, and the mount itself is the group. Version 1 mounts several
    controllers together, with a link for each: every folder is returned once.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        controllers, separator, path = line.partition(":")[2].partition(":")
        if not separator or (controllers and controller not in controllers.split(",")):
            continue
        names = (controllers, controller) if controllers else ("", "unified")
        for root in ((mount / name).resolve() for name in names):
            own = (root / path.strip("/")).resolve()
            around = [parent for parent in own.parents if parent.is_relative_to(root)]
            folders += [own, *around] if own.is_relative_to(root) else [root]
    return list(dict.fromkeys(folders))


def read_throttling(folders: Iterable[Path]) -> Throttling | None:
    """Return the sum over the groups, as a limit of each stops the process; None if none of them counts it."""
    seconds, periods, counted = 0.0, 0, False
    for folder in folders:
        figures = dict(line.split(" ", 1) for line in _read(folder / "cpu.stat").splitlines() if " " in line)
        if not figures.get("nr_throttled", "").isdigit():
            continue
        counted = True
        periods += int(figures["nr_throttled"])
        # Microseconds in version 2, nanoseconds in version 1.
        for key, per_s in (("throttled_usec", _US_PER_S), ("throttled_time", _NS_PER_S)):
            value = figures.get(key, "")
            seconds += int(value) / per_s if value.isdigit() else 0.0
    return Throttling(seconds, periods) if counted else None


def _find_least(read: Callable[[Path], Number | None], folders: Iterable[Path]) -> Number | None:
    return min((limit for limit in map(read, folders) if limit is not None), default=None)


def _read_cores(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not period:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read_memory_bytes(folder: Path) -> int | None:
    limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
    return int(limit) if limit.isdigit() and int(limit) < _NO_LIMIT_BYTES else None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
