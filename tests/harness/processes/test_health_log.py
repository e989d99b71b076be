"""The logs of the process's health: growth between rows, holes, other boots, torn lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turngap.processes import health_log
from turngap.processes.proc_counters import Counters

BOOT = "this boot"


def counters(queued_s: float, stolen_s: float | None = None) -> Counters:
    return Counters(queued_s, queued_s / 2, 3, 0, None, None, stolen_s, None)


def write_rows(file: Path, rows: list[tuple[float, Counters]], boot_id: str = BOOT) -> None:
    lines = [",".join(health_log.format_health_row(at_s, row, boot_id)) for at_s, row in rows]
    new = not file.exists()
    with file.open("a") as out:
        out.write("".join(f"{line}\n" for line in [*([",".join(health_log.COLUMNS)] if new else []), *lines]))


def test_growth_is_in_proportion_inside_a_step(tmp_path: Path) -> None:
    """Half of a step has half of its growth; a column that is not readable has none."""
    file = tmp_path / "health.csv"
    write_rows(file, [(10.0, counters(0.0)), (10.1, counters(0.02)), (10.2, counters(0.03))])
    samples = health_log.read_samples(file, BOOT)
    assert samples.measure_growth("queued_s", 10.0, 10.2) == pytest.approx(0.03)
    assert samples.measure_growth("queued_s", 10.05, 10.15) == pytest.approx(0.015)
    assert samples.measure_growth("stolen_s", 10.0, 10.2) is None


@pytest.mark.parametrize(("begin_s", "end_s"), [(9.0, 10.1), (10.1, 14.0), (11.0, 13.0)])
def test_where_nobody_looked_nothing_is_known(tmp_path: Path, begin_s: float, end_s: float) -> None:
    """Before the first row, after the last, and in a hole."""
    file = tmp_path / "health.csv"
    write_rows(file, [(10.0, counters(0.0)), (10.5, counters(0.1)), (12.5, counters(0.2)), (13.0, counters(0.3))])
    assert health_log.read_samples(file, BOOT).measure_growth("queued_s", begin_s, end_s) is None


def test_a_counter_that_starts_again_is_not_negative(tmp_path: Path) -> None:
    """A resumed run has another agent, whose counters begin at 0; the steps of either are added up."""
    file = tmp_path / "health.csv"
    write_rows(file, [(1.0, counters(0.5)), (1.5, counters(0.7)), (2.0, counters(0.0)), (2.5, counters(0.1))])
    samples = health_log.read_samples(file, BOOT)
    assert samples.measure_growth("queued_s", 1.0, 2.5) is None
    total = samples.measure_total("queued_s", 0.0)
    assert total is not None
    assert total == (pytest.approx(0.3), pytest.approx(1.0))


def test_rows_of_another_boot_and_torn_rows_are_left_out(tmp_path: Path) -> None:
    """Their clock is another one."""
    file = tmp_path / "health.csv"
    write_rows(file, [(1.0, counters(9.0))], "another boot")
    write_rows(file, [(1.0, counters(0.1)), (1.1, counters(0.2))])
    with file.open("a") as out:
        out.write("1.2,zero,,,,,,,," + BOOT + "\n1.3,0.")
    assert health_log.read_samples(file, BOOT).measure_growth("queued_s", 1.0, 1.1) == pytest.approx(0.1)
    assert health_log.read_samples(tmp_path / "none.csv", BOOT).empty


def test_events_are_those_of_one_boot(tmp_path: Path) -> None:
    """A line is of the boot whose start line is above it; damaged lines are left out."""
    file = tmp_path / "health.jsonl"
    loop = {"kind": "loop", "start_ns": 5, "end_ns": 9, "ran_ms": 1.5, "queued_ms": 0.5, "stack": ["f (a.py:1)"]}
    lines = [
        {"kind": "start", "boot_id": "another boot"},
        loop | {"start_ns": 1},
        {"kind": "start", "boot_id": BOOT},
        loop,
        {"kind": "interpreter", "start_ns": 2, "end_ns": 4, "queued_ms": 0.0},
        loop | {"end_ns": 3},
        loop | {"start_ns": "soon"},
        {"kind": "lost", "lines": 7},
        ["no object"],
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "lo')
    events = health_log.read_events(file, BOOT)
    assert events is not None
    assert [(event.kind, event.start_ns) for event in events] == [("interpreter", 2), ("loop", 5)]
    assert events[1].stack == ("f (a.py:1)",)
    assert health_log.read_events(file, "a third boot") is None
    assert health_log.read_events(tmp_path / "none.jsonl", BOOT) is None
