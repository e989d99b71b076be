"""The machine's checks: each fault alone, the state it gets, and that it says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turngap.clock import SystemClock
from turngap.doctor.checks import State
from turngap.doctor.machine import judge_machine
from turngap.doctor.machine_facts import MachineFacts, Neighbour, read_machine
from turngap.processes.control_group import ControlGroup

GOOD = MachineFacts(
    system="Linux",
    cpu="EPYC",
    cores=8,
    memory_mib=32_000,
    memory_available_mib=16_000,
    clock_source="tsc",
    governor="performance",
    timer_late_p99_ms=0.1,
    priority="real time (SCHED_FIFO 1)",
    stolen_share=0.0,
    busy_share=0.02,
    open_files=4_096,
    disk_free_mib=50_000,
)


def judge(**changes: Any) -> dict[str, tuple[State, str, str]]:
    """Return state, text and remedy by the check's name."""
    return {
        check.name: (check.state, check.found, check.remedy) for check in judge_machine(replace(GOOD, **changes)).checks
    }


def test_a_good_machine_needs_nothing() -> None:
    """Every check is OK, and none has a remedy."""
    checks = judge()
    assert set(checks) == {
        *("system", "processor", "memory", "clock", "timer", "priority", "stolen time", "load", "frequency"),
        *("open files", "disk"),
    }
    assert {(state, remedy) for state, _, remedy in checks.values()} == {(State.OK, "")}


@pytest.mark.parametrize(
    ("name", "changes", "state", "found"),
    [
        ("system", {"system": "Darwin"}, State.WARNING, "Darwin"),
        ("processor", {"cores": 1}, State.WARNING, "1 usable"),
        ("processor", {"limits": ControlGroup(cores=1.5)}, State.WARNING, "its container allows 1.5"),
        ("memory", {"memory_available_mib": 900}, State.WARNING, "900 of 32,000 MiB"),
        ("memory", {"limits": ControlGroup(memory_bytes=1 << 30)}, State.WARNING, "its container allows 1,024"),
        ("clock", {"clock_source": "hpet"}, State.WARNING, "hpet"),
        ("timer", {"timer_late_p99_ms": 1.0}, State.WARNING, "1.00 ms late"),
        ("timer", {"timer_late_p99_ms": 5.0}, State.PROBLEM, "5.00 ms late"),
        ("priority", {"priority": "niceness 0"}, State.WARNING, "niceness 0"),
        ("stolen time", {"stolen_share": 0.02}, State.WARNING, "2.0%"),
        ("load", {"busy_share": 0.5, "neighbours": (Neighbour("cc1", 7, 99.0),)}, State.WARNING, "cc1 (pid 7, 99 %"),
        ("throttling", {"limits": ControlGroup(4.0, None, 12)}, State.WARNING, "12 periods"),
        ("throttling", {"limits": ControlGroup(4.0, None, 0)}, State.OK, "0 periods"),
        ("frequency", {"governor": "powersave"}, State.WARNING, "powersave"),
        ("open files", {"open_files": 256}, State.WARNING, "256"),
        ("disk", {"disk_free_mib": 100}, State.WARNING, "100 MiB"),
    ],
)
def test_each_fault_is_found_alone(name: str, changes: dict[str, Any], state: State, found: str) -> None:
    """It has its state and, unless it is OK, a remedy; every other check stays as it was."""
    checks = judge(**changes)
    assert checks[name][0] is state
    assert found in checks[name][1]
    assert bool(checks[name][2]) is (state is not State.OK)
    assert [
        other for other, (other_state, _, _) in checks.items() if other_state is not State.OK and other != name
    ] == []


def test_what_the_system_does_not_say_is_no_check() -> None:
    """No clock source, governor or stolen time: no line, and no guess."""
    assert not {"clock", "frequency", "stolen time", "throttling"} & set(
        judge(clock_source=None, governor=None, stolen_share=None)
    )


@pytest.mark.anyio
async def test_this_machine_is_read(tmp_path: Path) -> None:
    """Real facts of the machine that runs the test, within what is possible."""
    facts = await read_machine(SystemClock(), tmp_path / "not" / "there")
    assert facts.cores >= 1
    assert 0 < facts.memory_available_mib <= facts.memory_mib
    assert 0 <= facts.busy_share <= 1
    assert facts.timer_late_p99_ms >= 0
    assert facts.disk_free_mib > 0
    assert facts.open_files > 0
