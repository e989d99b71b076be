"""Reads what the machine is and how it is doing: processor, memory, clock, timer, load, limits."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from turngap.caller.priority import raised_priority
from turngap.clock import NS_PER_MS, Clock
from turngap.doctor.disk import count_free_bytes
from turngap.processes import environment
from turngap.processes.control_group import ControlGroup, read_control_group

WATCH_MS = 1_000
"""How long load, stolen time and neighbours are watched."""
_NEIGHBOUR_PERCENT = 10.0
"""A process that uses more than that of one core is named."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another process that uses the processor."""

    name: str
    pid: int
    percent: float
    """Of one core."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine, over one second."""

    system: str
    """As `platform.system` names it."""
    cpu: str
    cores: int
    """That this process may use."""
    memory_mib: int
    memory_available_mib: int
    clock_source: str | None
    """The kernel's; None where it does not say."""
    governor: str | None
    """That of the first core's frequency; None where it does not say."""
    timer_late_p99_ms: float
    priority: str
    """What the callers' thread gets, as `caller.priority.describe_priority` says it."""
    stolen_share: float | None
    """Of all cores' time, 0-1; None where the system does not count it."""
    busy_share: float
    """Of all cores' time, 0-1, without this process."""
    open_files: int
    """The limit of this process; a call needs a socket on each side."""
    disk_free_mib: int
    """Where results are written."""
    neighbours: tuple[Neighbour, ...] = ()
    """The busiest first."""
    limits: ControlGroup = field(default_factory=ControlGroup)


async def read_machine(clock: Clock, results: Path, root: Path = Path("/")) -> MachineFacts:
    """Watch the machine for a second, then measure the timer. `results`: where runs would be written."""
    processes = _list_processes()
    before, own_before = psutil.cpu_times(), _own_cpu_s()
    start_ns = clock.now_ns()
    await clock.sleep_ns(WATCH_MS * NS_PER_MS)
    elapsed_s = (clock.now_ns() - start_ns) / 1e9
    after, own_s = psutil.cpu_times(), _own_cpu_s() - own_before
    all_s = max(elapsed_s * (os.cpu_count() or 1), 1e-9)
    idle_s = sum(getattr(after, name, 0.0) - getattr(before, name, 0.0) for name in ("idle", "iowait"))
    stolen_s = after.steal - before.steal if hasattr(after, "steal") else None
    neighbours = _list_busy(processes, elapsed_s)
    with raised_priority() as priority:
        late_ms = await environment.measure_timer_late_p99_ms(clock)
    memory = psutil.virtual_memory()
    return MachineFacts(
        system=platform.system(),
        cpu=environment.read_cpu_model(root / "proc/cpuinfo"),
        cores=environment.count_cores(),
        memory_mib=round(memory.total / (1 << 20)),
        memory_available_mib=round(memory.available / (1 << 20)),
        clock_source=_read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        timer_late_p99_ms=late_ms,
        priority=priority,
        stolen_share=None if stolen_s is None else min(1.0, max(0.0, stolen_s / all_s)),
        busy_share=min(1.0, max(0.0, 1 - (idle_s + own_s + (stolen_s or 0.0)) / all_s)),
        open_files=_limit_open_files(),
        disk_free_mib=round(count_free_bytes(results) / (1 << 20)),
        neighbours=neighbours,
        limits=read_control_group(root),
    )


def _list_processes() -> dict[int, tuple[psutil.Process, float]]:
    """Return every other process that may be read, with its processor seconds so far."""
    found = {}
    for process in psutil.process_iter():
        cpu_s = _cpu_s(process)
        if process.pid != os.getpid() and cpu_s is not None:
            found[process.pid] = (process, cpu_s)
    return found


def _list_busy(before: dict[int, tuple[psutil.Process, float]], elapsed_s: float) -> tuple[Neighbour, ...]:
    busy = []
    for pid, (process, cpu_s) in before.items():
        now_s = _cpu_s(process)
        if now_s is None:
            continue  # it has ended
        percent = 100 * (now_s - cpu_s) / max(elapsed_s, 1e-9)
        if percent > _NEIGHBOUR_PERCENT:
            busy.append(Neighbour(_name(process), pid, percent))
    return tuple(sorted(busy, key=lambda one: -one.percent))


def _cpu_s(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "a process"


def _own_cpu_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _limit_open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8").strip() or None
    except OSError:
        return None
