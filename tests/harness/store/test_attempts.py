"""The attempt ledger: entered at the start and at the end, counted by build and budget, never lost by a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.store import attempts, disk
from turngap.store.attempts import AttemptEnd, AttemptStart
from turngap_agent.errors import UsageError


def start(attempt: str, **changes: object) -> AttemptStart:
    """An attempt that begins."""
    fields: dict[str, object] = {
        "attempt": attempt,
        "time": "2026-07-01T10:00:00+00:00",
        "run": f"run-{attempt}",
        "agent": "cpu",
        "fingerprint": "f1",
        "scenario": "gate",
        "scenario_sha256": "s1",
        "budget": "sub500",
        "budget_sha256": "b1",
        "seed": 1,
        "scenario_seed": 1,
        "planned": 190,
        "available": 190,
        "subset": "u1",
    }
    return AttemptStart.model_validate(fields | changes)


def end(attempt: str, verdict: str = "PASS", *, turns: int = 190, complete: bool = True) -> AttemptEnd:
    """The end of an attempt."""
    time = "2026-07-01T10:10:00+00:00"
    return AttemptEnd(attempt=attempt, time=time, verdict=verdict, turns=turns, complete=complete, ended="as it ended")


def statuses(folder: Path) -> dict[str, str]:
    return {each.start.attempt: each.status for each in attempts.read_attempts(folder)[0]}


def test_an_attempt_without_an_end_is_aborted_whether_its_folder_is_there_or_not(tmp_path: Path) -> None:
    """A killed one has no end line; an interrupted one that measured nothing does not count."""
    for name in ("passed", "killed", "interrupted", "nothing"):
        attempts.enter(tmp_path, start(name))
    attempts.enter(tmp_path, end("passed"))
    attempts.enter(tmp_path, end("interrupted", "INVALID", turns=12, complete=False))
    attempts.enter(tmp_path, end("nothing", "", turns=0, complete=False))
    assert statuses(tmp_path) == {
        "passed": "PASS",
        "killed": "aborted",
        "interrupted": "aborted",
        "nothing": "nothing measured",
    }
    same = attempts.select_same(attempts.read_attempts(tmp_path)[0], start("passed"))
    assert attempts.count_statuses(same) == {"PASS": 1, "aborted": 2}


def test_the_last_end_counts(tmp_path: Path) -> None:
    """A resumed run is the same attempt: its verdict replaces the interruption."""
    attempts.enter(tmp_path, start("one"))
    attempts.enter(tmp_path, end("one", "INVALID", turns=12, complete=False))
    attempts.enter(tmp_path, end("one", "FAIL"))
    assert statuses(tmp_path) == {"one": "FAIL"}


def test_attempts_on_another_build_or_budget_are_not_the_same(tmp_path: Path) -> None:
    """Another scenario, subset or order is: a budget that is tried on several until one passes is tried again."""
    for attempt in (
        start("this"),
        start("build", fingerprint="f2"),
        start("budget", budget_sha256="b2"),
        start("scenario", scenario_sha256="s2"),
        start("order", seed=7, subset="u2"),
    ):
        attempts.enter(tmp_path, attempt)
        attempts.enter(tmp_path, end(attempt.attempt))
    same = attempts.select_same(attempts.read_attempts(tmp_path)[0], start("this"))
    assert [each.start.attempt for each in same] == ["this", "scenario", "order"]


@pytest.mark.parametrize("torn", [b'{"event":"end","att', b'{"event":"end"}', b"\xff\xfe", b"[]"])
def test_a_torn_line_is_skipped_and_ended_by_the_next_writer(tmp_path: Path, torn: bytes) -> None:
    """The attempt it belonged to is aborted, and those after it are read."""
    attempts.enter(tmp_path, start("torn"))
    with (tmp_path / attempts.LEDGER).open("ab") as file:
        file.write(torn)
    attempts.enter(tmp_path, start("next"))
    attempts.enter(tmp_path, end("next"))
    assert statuses(tmp_path) == {"torn": "aborted", "next": "PASS"}
    assert attempts.read_attempts(tmp_path)[1] == (f"{attempts.LEDGER}: 1 torn line was skipped",)
    assert torn in (tmp_path / attempts.LEDGER).read_bytes()


def test_a_folder_that_cannot_be_written_is_one_error_before_the_start(tmp_path: Path) -> None:
    """It names the ledger."""
    (tmp_path / attempts.LEDGER).mkdir()
    with pytest.raises(UsageError, match=attempts.LEDGER):
        attempts.check_ledger(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=attempts.LEDGER):
        attempts.check_ledger(tmp_path / "file")


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    """Eight processes, twenty lines each."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.harness.store.test_attempts import start\n"
        "from turngap.store import attempts\n"
        "for n in range(20): attempts.enter(Path(sys.argv[1]), start(f'{sys.argv[2]}-{n}'))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(n)]) for n in range(8)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 8
    known, notes = attempts.read_attempts(tmp_path)
    assert (len(known), notes) == (160, ())


def test_an_attempt_whose_folder_is_being_written_is_under_way(tmp_path: Path) -> None:
    """It is aborted only once no process writes it any more."""
    (tmp_path / "run-one").mkdir()
    attempts.enter(tmp_path, start("one"))
    lock = disk.FolderLock(tmp_path / "run-one")
    assert statuses(tmp_path) == {"one": "under way"}
    lock.release()
    assert statuses(tmp_path) == {"one": "aborted"}


def test_a_writer_that_is_killed_leaves_whole_lines_before_it(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: every line that was entered is read."""
    program = (
        "import itertools, sys; from pathlib import Path\n"
        "from tests.harness.store.test_attempts import start\n"
        "from turngap.store import attempts\n"
        "for n in itertools.count():\n"
        "    attempts.enter(Path(sys.argv[1]), start(str(n)))\n"
        "    print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        seen = [int(writer.stdout.readline()) for _ in range(5)]
        os.kill(writer.pid, signal.SIGKILL)
        seen += [int(line) for line in writer.stdout.read().split()]
    names = [each.start.attempt for each in attempts.read_attempts(tmp_path)[0]]
    assert names[: len(seen)] == [str(number) for number in seen]
    attempts.enter(tmp_path, start("after"))
    assert "after" in statuses(tmp_path)
