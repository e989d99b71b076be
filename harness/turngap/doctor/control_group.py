"""The limits of this process's control group: how much processor time and memory a container gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes a number of about 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Its limits; None for none, or where the system does not say."""

    cores: float | None = None
    """Processor time a second, as a number of cores."""
    memory_bytes: int | None = None
    throttled_periods: int = 0
    """How often it has been stopped because its processor time was used up."""


def read_control_group(root: Path = Path("/")) -> ControlGroup:
    """Return the tightest limits of this process's group and of the groups around it.

    Both versions of control groups are read (Linux, `admin-guide/cgroup-v2` and `cgroup-v1`). `root` replaces `/`, for
    tests.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return ControlGroup()
    mount = root / "sys/fs/cgroup"
    found = ControlGroup()
    for line in lines:
        controllers, separator, path = line.partition(":")[2].partition(":")
        if not separator:
            continue
        if not controllers:
            found = _tighten(found, [_read_version_2(folder) for folder in _list_folders(mount, path)])
        for name in controllers.split(","):
            if name in ("cpu", "memory"):
                folders = _list_folders(mount / name, path)
                found = _tighten(found, [_read_version_1(folder) for folder in folders])
    return found


def _list_folders(mount: Path, path: str) -> list[Path]:
    """Return the group's folder and those around it; inside a container the mount itself is its group's."""
    folder = mount / path.strip("/")
    own = folder if folder.is_dir() else mount
    return [own, *(parent for parent in own.parents if parent == mount or mount in parent.parents)]


def _tighten(known: ControlGroup, others: list[ControlGroup]) -> ControlGroup:
    groups = [known, *others]
    return ControlGroup(
        min((group.cores for group in groups if group.cores is not None), default=None),
        min((group.memory_bytes for group in groups if group.memory_bytes is not None), default=None),
        max(group.throttled_periods for group in groups),
    )


def _read_version_2(folder: Path) -> ControlGroup:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    memory = _read(folder / "memory.max")
    return ControlGroup(
        int(quota) / int(period) if quota.isdigit() and period.isdigit() else None,
        int(memory) if memory.isdigit() else None,
        _read_throttled(folder),
    )


def _read_version_1(folder: Path) -> ControlGroup:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    memory = _read(folder / "memory.limit_in_bytes")
    return ControlGroup(
        int(quota) / int(period) if quota.isdigit() and period.isdigit() else None,
        int(memory) if memory.isdigit() and int(memory) < _NO_LIMIT_BYTES else None,
        _read_throttled(folder),
    )


def _read_throttled(folder: Path) -> int:
    for line in _read(folder / "cpu.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == "nr_throttled" and value.isdigit():
            return int(value)
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
