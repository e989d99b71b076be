"""Judges the machine: whether it can measure milliseconds, and what spoils them. Pure."""

from __future__ import annotations

from turngap.calibration import idleness
from turngap.doctor.checks import Check, Group, State
from turngap.doctor.machine_facts import MachineFacts
from turngap.scoring.outcomes import LATENESS_LIMIT_MS

CORES, MEMORY_MIB, DISK_MIB, OPEN_FILES = 2, 2_048, 1_024, 1_024
"""Enough for the profile `cpu` (a core for the caller, one for the agent, the engines' memory), for some runs, and
for a hundred calls at once."""
_PRECISE_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
"""Read without a call into the kernel, in tens of nanoseconds."""


def judge_machine(facts: MachineFacts) -> Group:
    """Return the checks of the machine."""
    checks = [
        _judge_system(facts),
        _judge_cores(facts),
        _judge_memory(facts),
        _judge_clock(facts),
        _judge_timer(facts),
        _judge_priority(facts),
        _judge_steal(facts),
        _judge_neighbours(facts),
        _judge_throttling(facts),
        _judge_frequency(facts),
        _judge_files(facts),
        _judge_disk(facts),
    ]
    return Group("machine", tuple(check for check in checks if check is not None))


def _judge_system(facts: MachineFacts) -> Check:
    if facts.system == "Linux":
        return Check("system", State.OK, "Linux")
    return Check(
        "system",
        State.WARNING,
        facts.system,
        "the instrument's error is measured on Linux alone; elsewhere priority and control groups cannot be read",
    )


def _judge_cores(facts: MachineFacts) -> Check:
    limit = facts.limits.cores
    usable = min(facts.cores, limit) if limit is not None else facts.cores
    found = f"{facts.cores} usable, {facts.cpu}" + (f"; its container allows {limit:g}" if limit is not None else "")
    if usable >= CORES:
        return Check("processor", State.OK, found)
    remedy = f"caller and agent share less than {CORES} cores: run the agent on another machine, or allow {CORES} cores"
    return Check("processor", State.WARNING, found, remedy)


def _judge_memory(facts: MachineFacts) -> Check:
    limit_bytes = facts.limits.memory_bytes
    limit_mib = None if limit_bytes is None else limit_bytes >> 20
    available_mib = facts.memory_available_mib if limit_mib is None else min(facts.memory_available_mib, limit_mib)
    found = f"{facts.memory_available_mib:,} of {facts.memory_mib:,} MiB available"
    found += f"; its container allows {limit_mib:,}" if limit_mib is not None else ""
    if available_mib >= MEMORY_MIB:
        return Check("memory", State.OK, found)
    return Check(
        "memory", State.WARNING, found, f"profile cpu and a report want {MEMORY_MIB:,} MiB: end other programs"
    )


def _judge_clock(facts: MachineFacts) -> Check | None:
    source = facts.clock_source
    if source is None:
        return None
    if source in _PRECISE_CLOCKS:
        return Check("clock", State.OK, source)
    remedy = (
        "reading it takes microseconds; if the hardware has a stable tsc: clocksource=tsc on the kernel's command line"
    )
    return Check("clock", State.WARNING, source, remedy)


def _judge_timer(facts: MachineFacts) -> Check:
    late_ms = facts.timer_late_p99_ms
    found = f"99 of 100 waits end at most {late_ms:.2f} ms late"
    if late_ms < idleness.TIMER_MS:
        return Check("timer", State.OK, found)
    state = State.WARNING if late_ms < LATENESS_LIMIT_MS else State.PROBLEM
    return Check(
        "timer", state, found, "turns will be INVALID now and then: run nothing else here, or use your own machine"
    )


def _judge_priority(facts: MachineFacts) -> Check:
    if facts.priority.startswith("real time") or facts.priority == "niceness -10":
        return Check("priority", State.OK, f"the caller's thread gets {facts.priority}")
    remedy = (
        "frames may be late on busy cores: allow it by `ulimit -r 1` (containers: --ulimit rtprio=1) or CAP_SYS_NICE"
    )
    return Check("priority", State.WARNING, f"the caller's thread stays at {facts.priority}", remedy)


def _judge_steal(facts: MachineFacts) -> Check | None:
    share = facts.stolen_share
    if share is None:
        return None
    found = f"{share:.1%} of the processor time in the last second went to other machines of its host"
    if share <= idleness.STOLEN_SHARE:
        return Check("stolen time", State.OK, found)
    return Check(
        "stolen time", State.WARNING, found, "latencies will vary with the neighbours: use a dedicated machine"
    )


def _judge_neighbours(facts: MachineFacts) -> Check:
    found = f"{facts.busy_share:.0%} of the processor in use by others"
    if facts.busy_share < idleness.LOAD:
        return Check("load", State.OK, found)
    busiest = ", ".join(f"{one.name} (pid {one.pid}, {one.percent:.0f} % of a core)" for one in facts.neighbours[:3])
    return Check("load", State.WARNING, found + (f": {busiest}" if busiest else ""), "end other programs before a run")


def _judge_throttling(facts: MachineFacts) -> Check | None:
    if facts.limits.cores is None:
        return None
    periods = facts.limits.throttled_periods
    found = f"the container was stopped in {periods:,} periods so far because its processor time was used up"
    if not periods:
        return Check("throttling", State.OK, found)
    return Check("throttling", State.WARNING, found, "give it whole cores (cpuset) instead of a quota of their time")


def _judge_frequency(facts: MachineFacts) -> Check | None:
    if facts.governor is None:
        return None
    if facts.governor == "powersave":
        remedy = "cores may start each turn slowly: cpupower frequency-set -g performance"
        return Check("frequency", State.WARNING, f"governor {facts.governor}", remedy)
    return Check("frequency", State.OK, f"governor {facts.governor}")


def _judge_files(facts: MachineFacts) -> Check:
    if facts.open_files >= OPEN_FILES:
        return Check("open files", State.OK, f"up to {facts.open_files:,}")
    return Check(
        "open files", State.WARNING, f"up to {facts.open_files:,}", f"for many calls at once: ulimit -n {OPEN_FILES}"
    )


def _judge_disk(facts: MachineFacts) -> Check:
    found = f"{facts.disk_free_mib:,} MiB free where results are written"
    if facts.disk_free_mib >= DISK_MIB:
        return Check("disk", State.OK, found)
    return Check("disk", State.WARNING, found, "a run takes some 10 MiB and stops where the disk is full: make room")
