"""The kernel's counters, from files as it writes them: growth, absent ones, and both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

from turngap.processes.proc_counters import PACKAGE, RUN_QUEUE, STOLEN, THROTTLING, CounterReader, Places

PID = 41
CPU = "cpu  100 0 50 1000 5 0 3 {steal} 0 0\n"


def make_places(root: Path, *, threads: dict[int, int], faults: tuple[int, int] = (0, 0), steal: int = 0) -> Places:
    """Write the files of a process with `threads` (ns on a run queue by thread); () of what is not asked for."""
    places = Places(root / "proc", root / "cgroup", root / "powercap")
    own = places.proc / str(PID)
    for thread, queued in threads.items():
        (own / "task" / str(thread)).mkdir(parents=True, exist_ok=True)
        (own / "task" / str(thread) / "schedstat").write_text(f"123456 {queued} 7\n")
    (own / "schedstat").write_text("123456 0 7\n")
    (own / "stat").write_text(f"{PID} (a (b) c) S 1 41 41 0 -1 4194560 {faults[0]} 0 {faults[1]} 0 10 5 0 0\n")
    (places.proc / "stat").write_text(CPU.format(steal=steal) + "cpu0 1 2 3 4 5 6 7 8\n")
    return places


def write_waits(places: Places, threads: dict[int, int]) -> None:
    for thread, queued in threads.items():
        folder = places.proc / str(PID) / "task" / str(thread)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"123456 {queued} 7\n")


def test_waits_for_a_core_are_counted_from_the_first_reading(tmp_path: Path) -> None:
    """All threads' together and the main thread's; a thread that starts later counts from its start."""
    places = make_places(tmp_path, threads={PID: 5_000_000_000, 42: 1_000_000_000})
    reader = CounterReader(PID, places)
    first = reader.read()
    assert first is not None
    assert (first.queued_s, first.loop_queued_s) == (0.0, 0.0)
    write_waits(places, {PID: 5_010_000_000, 42: 1_030_000_000, 43: 2_000_000})
    second = reader.read()
    assert second is not None
    assert second.queued_s == 0.042
    assert second.loop_queued_s == 0.010


def test_a_thread_that_ends_takes_nothing_away(tmp_path: Path) -> None:
    """The sum never falls: it is one of growths."""
    places = make_places(tmp_path, threads={PID: 0, 42: 0})
    reader = CounterReader(PID, places)
    reader.read()
    write_waits(places, {42: 8_000_000})
    reader.read()
    (places.proc / str(PID) / "task" / "42" / "schedstat").unlink()
    counters = reader.read()
    assert counters is not None
    assert counters.queued_s == 0.008


def test_page_faults_are_read_behind_a_name_with_brackets(tmp_path: Path) -> None:
    """The name of a process may contain anything."""
    places = make_places(tmp_path, threads={PID: 0}, faults=(10, 1))
    reader = CounterReader(PID, places)
    reader.read()
    make_places(tmp_path, threads={PID: 0}, faults=(25, 4))
    counters = reader.read()
    assert counters is not None
    assert (counters.minor_faults, counters.major_faults) == (15, 3)


def test_stolen_time_is_in_seconds(tmp_path: Path) -> None:
    """The kernel counts it in ticks."""
    ticks = os.sysconf("SC_CLK_TCK")
    counters = CounterReader(PID, make_places(tmp_path, threads={PID: 0}, steal=3 * ticks)).read()
    assert counters is not None
    assert counters.stolen_s == 3.0


def test_throttling_of_a_group_and_of_the_one_around_it(tmp_path: Path) -> None:
    """Version 2 counts in µs; a limit of the parent holds the process up as well."""
    places = make_places(tmp_path, threads={PID: 0})
    (places.proc / str(PID) / "cgroup").write_text("0::/outer/inner\n")
    (places.cgroup / "outer" / "inner").mkdir(parents=True)
    (places.cgroup / "outer" / "cpu.stat").write_text(
        "usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 7000\n"
    )
    (places.cgroup / "outer" / "inner" / "cpu.stat").write_text("nr_throttled 1\nthrottled_usec 500\n")
    counters = CounterReader(PID, places).read()
    assert counters is not None
    assert (counters.throttled_s, counters.throttled_periods) == (0.0075, 3)


def test_throttling_of_version_1(tmp_path: Path) -> None:
    """There it is in ns, in the hierarchy of the controller; in a container the path is the host's."""
    places = make_places(tmp_path, threads={PID: 0})
    (places.proc / str(PID) / "cgroup").write_text("4:memory:/x\n3:cpu,cpuacct:/docker/abc\n")
    (places.cgroup / "cpu,cpuacct").mkdir(parents=True)
    (places.cgroup / "cpu,cpuacct" / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\nthrottled_time 12000000\n")
    counters = CounterReader(PID, places).read()
    assert counters is not None
    assert (counters.throttled_s, counters.throttled_periods) == (0.012, 4)


def test_a_group_with_two_names_is_counted_once(tmp_path: Path) -> None:
    """Version 1 mounts `cpu,cpuacct` and makes a link `cpu` to it; both names lead to one group."""
    places = make_places(tmp_path, threads={PID: 0})
    (places.proc / str(PID) / "cgroup").write_text("3:cpu,cpuacct:/box\n")
    (places.cgroup / "cpu,cpuacct" / "box").mkdir(parents=True)
    (places.cgroup / "cpu").symlink_to("cpu,cpuacct")
    (places.cgroup / "cpu" / "box" / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\nthrottled_time 12000000\n")
    counters = CounterReader(PID, places).read()
    assert counters is not None
    assert (counters.throttled_s, counters.throttled_periods) == (0.012, 4)


def test_energy_goes_round(tmp_path: Path) -> None:
    """The counter starts again at its range; domains inside a package are part of it and are not added."""
    places = make_places(tmp_path, threads={PID: 0})
    for name in ("intel-rapl:0", "intel-rapl:0:0"):
        (places.powercap / name).mkdir(parents=True)
        (places.powercap / name / "max_energy_range_uj").write_text("1000000\n")
        (places.powercap / name / "energy_uj").write_text("900000\n")
    reader = CounterReader(PID, places)
    reader.read()
    (places.powercap / "intel-rapl:0" / "energy_uj").write_text("100000\n")
    counters = reader.read()
    assert counters is not None
    assert counters.package_j == 0.2
    assert PACKAGE not in reader.not_readable


def test_what_is_hidden_is_none_and_said(tmp_path: Path) -> None:
    """Each with where it was looked for; nothing is zero that was not counted."""
    places = Places(tmp_path / "proc", tmp_path / "cgroup", tmp_path / "powercap")
    (places.proc / str(PID)).mkdir(parents=True)
    reader = CounterReader(PID, places)
    assert set(reader.not_readable) == {RUN_QUEUE, THROTTLING, STOLEN, PACKAGE}
    assert "has no RAPL counter" in reader.not_readable[PACKAGE]
    counters = reader.read()
    assert counters is not None
    known = (counters.queued_s, counters.loop_queued_s, counters.throttled_s, counters.stolen_s, counters.package_j)
    assert known == (None,) * 5


def test_a_process_that_has_ended_has_no_counters(tmp_path: Path) -> None:
    """None, not zeros."""
    reader = CounterReader(PID, make_places(tmp_path, threads={PID: 0}))
    assert CounterReader(PID + 1, reader.places).read() is None
    assert reader.read() is not None
