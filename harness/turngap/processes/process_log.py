"""`process.csv`: CPU time and memory of the agent, the instrument and the machine; sampled and evaluated."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Self

import psutil

_MIB = 1 << 20
_LONGEST_STEP_S = 30.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a process and its descendants use at one moment."""

    rss_mib: float
    """Sum of resident memory: shared pages count in each process."""
    cpu_s: float
    """User and system time since their start, including that of ended children."""


class ProcessTree:
    """A process and its descendants."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self.descendants: tuple[int, ...] = ()
        """Process ids of its descendants when it was last looked at."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the tree below `pid`; None if there is no such process."""
        try:
            return cls(psutil.Process(pid))
        except psutil.Error:
            return None

    def use(self) -> Use | None:
        """Return what the tree uses now; None if its root has ended."""
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return None
        self.descendants = tuple(process.pid for process in tree[1:])
        rss, cpu_s = 0, 0.0
        for process in tree:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
            except psutil.Error:
                continue  # it has ended since it was listed
            cpu_s += times.user + times.system
            cpu_s += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return Use(rss / _MIB, cpu_s) if rss else None


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """A row of `process.csv`."""

    at_s: float
    """On the host's monotonic clock, as every time of a run."""
    cpu_percent: float
    """The agent's since the previous row; 100 is one core."""
    rss_mib: float
    """The agent's."""
    cpu_s: float
    """The agent's since its start."""
    ours_cpu_s: float
    """That of the instrument and the agent since their start."""
    machine_cpu_s: float
    """That of all processes since the machine was started, idle time excluded."""
    stolen_cpu_s: float = 0.0
    """Time that the host of a virtual machine gave to others while this one had work, since it was started."""


COLUMNS = tuple(field.name for field in fields(ProcessSample))
"""The columns of `process.csv`; rows of older runs lack the last."""


class ProcessSampler:
    """Samples an agent, the instrument that started it, and the machine."""

    def __init__(self, agent: ProcessTree, instrument: ProcessTree | None) -> None:
        self._agent = agent
        self._instrument = instrument
        self._before: tuple[float, float] | None = None

    def sample(self, at_s: float) -> ProcessSample | None:
        """Return the next row; None if the agent has ended."""
        agent = self._agent.use()
        if agent is None:
            return None
        ours = self._instrument.use() if self._instrument is not None else None
        percent = 0.0
        if self._before is not None and at_s > self._before[0]:
            percent = 100 * max(0.0, agent.cpu_s - self._before[1]) / (at_s - self._before[0])
        self._before = (at_s, agent.cpu_s)
        ours_cpu_s = ours.cpu_s if ours is not None else agent.cpu_s
        machine = psutil.cpu_times()._asdict()
        return ProcessSample(
            at_s, percent, agent.rss_mib, agent.cpu_s, ours_cpu_s, _busy_s(machine), machine.get("steal", 0.0)
        )


def available_mib() -> float:
    """Return the memory, MiB, that a process could get now without swapping."""
    return float(psutil.virtual_memory().available) / _MIB


def format_process_row(sample: ProcessSample) -> list[str]:
    """Return a line of `process.csv`."""
    return [f"{value:.3f}" for value in asdict(sample).values()]


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The figures of `process.csv`; None where it has no samples."""

    rss_mib: float | None = None
    """The agent's peak."""
    cpu_s: float | None = None
    """The agent's while it was sampled."""
    foreign_cpu_share: float | None = None
    """Share of the machine's CPU time used by processes of neither the agent nor the instrument."""
    stolen_cpu_share: float | None = None
    """Share of the machine's CPU time that its host gave to others while it had work (steal)."""


def summarise_process(file: Path) -> ProcessFigures:
    """Evaluate `process.csv`; a torn last line is ignored."""
    if not file.is_file():
        return ProcessFigures()
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [
            [float(line.get(name) or 0) for name in COLUMNS] for line in csv.DictReader(lines) if _is_complete(line)
        ]
    if not rows:
        return ProcessFigures()
    samples = [ProcessSample(*values) for values in rows]
    # A resumed run has rows of two agents: only consecutive rows close in time are compared.
    steps = [(a, b) for a, b in pairwise(samples) if 0 < b.at_s - a.at_s < _LONGEST_STEP_S and b.cpu_s >= a.cpu_s]
    capacity_s = sum(b.at_s - a.at_s for a, b in steps) * (os.cpu_count() or 1)
    machine_s = sum(b.machine_cpu_s - a.machine_cpu_s for a, b in steps)
    stolen_s = sum(max(0.0, b.stolen_cpu_s - a.stolen_cpu_s) for a, b in steps)
    ours_s = sum(b.ours_cpu_s - a.ours_cpu_s for a, b in steps)
    return ProcessFigures(
        rss_mib=max(sample.rss_mib for sample in samples),
        cpu_s=sum(b.cpu_s - a.cpu_s for a, b in steps),
        foreign_cpu_share=min(1.0, max(0.0, (machine_s - ours_s) / capacity_s)) if capacity_s >= 1.0 else None,
        stolen_cpu_share=min(1.0, stolen_s / capacity_s) if capacity_s >= 1.0 else None,
    )


def _is_complete(line: dict[str, str | None]) -> bool:
    try:
        return all(float(line[name] or "x") >= 0 for name in COLUMNS[:-1])
    except (KeyError, ValueError):
        return False


def _busy_s(machine: dict[str, float]) -> float:
    # Guest time is part of user time; steal is the time of other machines.
    idle = ("idle", "iowait", "guest", "guest_nice", "steal")
    return float(sum(value for name, value in machine.items() if name not in idle))
