"""The ledger: entered at the start and at the end, counted by build, never lost by a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.store import disk, ledger
from turngap.store.ledger import EntryEnd, EntryStart
from turngap_agent.errors import UsageError


def start(entry: str, **changes: object) -> EntryStart:
    """A run that begins."""
    fields: dict[str, object] = {
        "entry": entry,
        "time": "2026-07-01T10:00:00+00:00",
        "run": f"run-{entry}",
        "agent": "cpu",
        "fingerprint": "f1",
        "scenario": "gate",
        "scenario_sha256": "s1",
        "budget": "sub500",
        "budget_sha256": "b1",
        "planned": 190,
        "subset": "u1",
    }
    return EntryStart.model_validate(fields | changes)


def end(entry: str, verdict: str = "PASS", *, turns: int = 190, complete: bool = True) -> EntryEnd:
    """The end of a run."""
    time = "2026-07-01T10:10:00+00:00"
    return EntryEnd(entry=entry, time=time, verdict=verdict, turns=turns, complete=complete, ended="as it ended")


def statuses(folder: Path) -> dict[str, str]:
    return {each.start.entry: each.status for each in ledger.read_entries(folder)[0]}


def test_a_resumed_run_that_is_killed_counts(tmp_path: Path) -> None:
    """It measured nothing before it was interrupted; whoever resumed it may have seen turns."""
    for line in (start("seen"), end("seen", "", turns=0, complete=False), start("seen")):
        ledger.enter(tmp_path, line)
    assert statuses(tmp_path) == {"seen": "aborted"}
    ledger.enter(tmp_path, end("seen", "FAIL"))
    assert statuses(tmp_path) == {"seen": "FAIL"}


def test_an_entry_without_an_end_is_aborted_whether_its_folder_is_there_or_not(tmp_path: Path) -> None:
    """A killed one has no end line; an interrupted one that measured nothing does not count."""
    for name in ("passed", "killed", "interrupted", "nothing"):
        ledger.enter(tmp_path, start(name))
    ledger.enter(tmp_path, end("passed"))
    ledger.enter(tmp_path, end("interrupted", "INVALID", turns=12, complete=False))
    ledger.enter(tmp_path, end("nothing", "", turns=0, complete=False))
    assert statuses(tmp_path) == {
        "passed": "PASS",
        "killed": "aborted",
        "interrupted": "aborted",
        "nothing": "nothing measured",
    }
    same = ledger.select_same(ledger.read_entries(tmp_path)[0], start("passed"))
    assert ledger.count_statuses(same) == {"PASS": 1, "aborted": 2}


def test_the_last_end_counts(tmp_path: Path) -> None:
    """A resumed run is the same entry: its verdict replaces the interruption."""
    ledger.enter(tmp_path, start("one"))
    ledger.enter(tmp_path, end("one", "INVALID", turns=12, complete=False))
    ledger.enter(tmp_path, end("one", "FAIL"))
    assert statuses(tmp_path) == {"one": "FAIL"}


def test_only_another_build_starts_the_count_again(tmp_path: Path) -> None:
    """Another budget, scenario or part does not: whoever tries several until one passes has tried again."""
    for line in (
        start("this"),
        start("build", fingerprint="f2"),
        start("budget", budget_sha256="b2"),
        start("scenario", scenario_sha256="s2"),
        start("part", subset="u2"),
    ):
        ledger.enter(tmp_path, line)
        ledger.enter(tmp_path, end(line.entry))
    same = ledger.select_same(ledger.read_entries(tmp_path)[0], start("this"))
    assert [each.start.entry for each in same] == ["this", "budget", "scenario", "part"]


@pytest.mark.parametrize("torn", [b'{"event":"end","att', b'{"event":"end"}', b"\xff\xfe", b"[]"])
def test_a_torn_line_is_skipped_and_ended_by_the_next_writer(tmp_path: Path, torn: bytes) -> None:
    """The entry it belonged to is aborted, and those after it are read."""
    ledger.enter(tmp_path, start("torn"))
    with (tmp_path / ledger.LEDGER).open("ab") as file:
        file.write(torn)
    ledger.enter(tmp_path, start("next"))
    ledger.enter(tmp_path, end("next"))
    assert statuses(tmp_path) == {"torn": "aborted", "next": "PASS"}
    assert ledger.read_entries(tmp_path)[1] == (f"{ledger.LEDGER}: 1 torn line was skipped",)
    assert torn in (tmp_path / ledger.LEDGER).read_bytes()


def test_a_folder_that_cannot_be_written_is_one_error_before_the_start(tmp_path: Path) -> None:
    """It names the ledger."""
    (tmp_path / ledger.LEDGER).mkdir()
    with pytest.raises(UsageError, match=ledger.LEDGER):
        ledger.check_ledger(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=ledger.LEDGER):
        ledger.check_ledger(tmp_path / "file")


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    """Eight processes, twenty lines each."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.harness.store.test_ledger import start\n"
        "from turngap.store import ledger\n"
        "for n in range(20): ledger.enter(Path(sys.argv[1]), start(f'{sys.argv[2]}-{n}'))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(n)]) for n in range(8)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 8
    known, notes = ledger.read_entries(tmp_path)
    assert (len(known), notes) == (160, ())


def test_an_entry_whose_folder_is_being_written_is_under_way(tmp_path: Path) -> None:
    """It is aborted only once no process writes it any more."""
    (tmp_path / "run-one").mkdir()
    ledger.enter(tmp_path, start("one"))
    lock = disk.FolderLock(tmp_path / "run-one")
    assert statuses(tmp_path) == {"one": "under way"}
    lock.release()
    assert statuses(tmp_path) == {"one": "aborted"}


def test_a_writer_that_is_killed_leaves_whole_lines_before_it(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: every line that was entered is read."""
    program = (
        "import itertools, sys; from pathlib import Path\n"
        "from tests.harness.store.test_ledger import start\n"
        "from turngap.store import ledger\n"
        "for n in itertools.count():\n"
        "    ledger.enter(Path(sys.argv[1]), start(str(n)))\n"
        "    print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        seen = [int(writer.stdout.readline()) for _ in range(5)]
        os.kill(writer.pid, signal.SIGKILL)
        seen += [int(line) for line in writer.stdout.read().split()]
    names = [each.start.entry for each in ledger.read_entries(tmp_path)[0]]
    assert names[: len(seen)] == [str(number) for number in seen]
    ledger.enter(tmp_path, start("after"))
    assert "after" in statuses(tmp_path)
