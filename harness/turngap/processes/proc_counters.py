"""The kernel's accounts of a process, read from outside: waits for a core, page faults, throttling, steal, energy.

Reading them costs the process nothing. What a machine or a container hides is None, and `not_readable` says why.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from turngap.processes.control_group import MOUNT, PROC, list_group_folders, read_throttling

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_NS_PER_S, _US_PER_S = 1_000_000_000, 1_000_000
RUN_QUEUE, THROTTLING, STOLEN, PACKAGE = "waits for a core", "throttling", "stolen time", "processor's energy"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the kernel's files are."""

    proc: Path = PROC
    cgroup: Path = MOUNT
    powercap: Path = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the reader was made; seconds, except counts and J. None: not readable here."""

    queued_s: float | None
    """All threads' waits for a core."""
    loop_queued_s: float | None
    """Those of the process's main thread."""
    minor_faults: int
    major_faults: int
    throttled_s: float | None
    throttled_periods: int | None
    stolen_s: float | None
    package_j: float | None


@dataclass(slots=True)
class CounterReader:
    """Reads the counters of one process and those of its descendants that are named."""

    pid: int
    places: Places = field(default_factory=Places)
    not_readable: dict[str, str] = field(default_factory=dict)
    _queued_ns: dict[int, dict[str, int]] = field(default_factory=dict)
    _faults: dict[int, tuple[int, int]] = field(default_factory=dict)
    _sums: dict[str, float] = field(default_factory=dict)
    _energy_uj: dict[Path, int] = field(default_factory=dict)
    _throttled: list[Path] = field(default_factory=list)
    _zones: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find out what this machine tells."""
        if not (self.places.proc / str(self.pid) / "schedstat").is_file():
            self.not_readable[RUN_QUEUE] = f"{self.places.proc}/PID/schedstat is not there"
        groups = list_group_folders("cpu", self.pid, self.places.proc, self.places.cgroup)
        self._throttled = [folder for folder in groups if read_throttling([folder]) is not None]
        if not self._throttled:
            self.not_readable[THROTTLING] = f"no cpu.stat under {self.places.cgroup} counts it"
        if self._read_steal_s() is None:
            self.not_readable[STOLEN] = f"{self.places.proc}/stat has no such column"
        self._zones = self._find_zones()

    def read(self, pids: tuple[int, ...] = ()) -> Counters | None:
        """Return the counters of the process and of `pids`; None if the process has ended."""
        if not (self.places.proc / str(self.pid)).is_dir():
            return None
        for pid in (self.pid, *pids):
            self._add_waits(pid)
            self._add_faults(pid)
        known = RUN_QUEUE not in self.not_readable
        throttled = read_throttling(self._throttled)
        return Counters(
            queued_s=self._sums.get("queued", 0.0) / _NS_PER_S if known else None,
            loop_queued_s=self._sums.get("loop", 0.0) / _NS_PER_S if known else None,
            minor_faults=int(self._sums.get("minor", 0)),
            major_faults=int(self._sums.get("major", 0)),
            throttled_s=throttled.seconds if throttled is not None else None,
            throttled_periods=throttled.periods if throttled is not None else None,
            stolen_s=self._read_steal_s(),
            package_j=self._read_package_j(),
        )

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def _add_waits(self, pid: int) -> None:
        # Each thread's growth is added up: a sum over the threads would fall whenever one ends.
        tasks = self.places.proc / str(pid) / "task"
        try:
            threads = [task.name for task in tasks.iterdir()]
        except OSError:
            return
        before, now = self._queued_ns.get(pid), dict[str, int]()
        for thread in threads:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended since it was listed
                now[thread] = int((tasks / thread / "schedstat").read_bytes().split()[1])
        self._queued_ns[pid] = now
        if before is None:
            return
        for thread, queued in now.items():
            grown = max(0, queued - before.get(thread, 0))
            self._add("queued", grown)
            if pid == self.pid and thread == str(pid):
                self._add("loop", grown)

    def _add_faults(self, pid: int) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Field 2, the name, may hold spaces and brackets; minflt and majflt are fields 10 and 12 (proc(5)).
            fields = (self.places.proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            now = (int(fields[7]), int(fields[9]))
            before = self._faults.get(pid, now)
            self._faults[pid] = now
            self._add("minor", max(0, now[0] - before[0]))
            self._add("major", max(0, now[1] - before[1]))

    def _read_steal_s(self) -> float | None:
        try:
            with (self.places.proc / "stat").open() as file:
                return int(file.readline().split()[8]) / _TICKS_PER_S  # the eighth figure after "cpu" (proc(5))
        except (OSError, ValueError, IndexError):
            return None

    def _find_zones(self) -> list[Path]:
        """Return the energy counters of the processor packages."""
        zones = sorted(self.places.powercap.glob("intel-rapl:[0-9]*"))  # AMD's processors have the same name
        packages = [zone / "energy_uj" for zone in zones if zone.name.count(":") == 1]
        if not packages:
            self.not_readable[PACKAGE] = f"{self.places.powercap} has no RAPL counter (a virtual machine has none)"
            return []
        for file in packages:
            try:
                file.read_text()
            except OSError as error:
                self.not_readable[PACKAGE] = f"{file}: {error.strerror or error}; only root may read it by default"
                return []
        return packages

    def _read_package_j(self) -> float | None:
        if not self._zones:
            return None
        for file in self._zones:
            with contextlib.suppress(OSError, ValueError):
                now = int(file.read_text())
                grown = now - self._energy_uj.get(file, now)
                if grown < 0:  # it has gone round
                    grown += int((file.parent / "max_energy_range_uj").read_text())
                self._energy_uj[file] = now
                self._add("package", grown)
        return self._sums.get("package", 0.0) / _US_PER_S
