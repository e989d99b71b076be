"""A run's folder: no kill loses a finished turn, and nothing foreign, damaged or newer is taken for a run."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from turngap.model.result import SCHEMA_VERSION
from turngap.store import folder as store
from turngap.store.folder import Migration, RunFolder
from turngap_agent.errors import HarnessError, RunFolderError, UsageError

from tests.harness import report_builders as builders


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A fresh run folder without turns."""
    return RunFolder.create(tmp_path / "results", "a-run", builders.run_record([]))


def test_a_folder_has_its_run_json_from_the_start(folder: RunFolder) -> None:
    """A folder that exists is a run folder, and a second run of the same second gets a number."""
    assert store.read_run(folder.path).record.run_id == "a-run"
    second = RunFolder.create(folder.path.parent, "a-run", builders.run_record([]))
    assert second.path.name == "a-run-2"
    assert store.read_run(second.path).record.run_id == "a-run-2"


def test_appended_turns_are_read_in_the_order_of_calls(folder: RunFolder) -> None:
    """Calls that end out of order are read in order, every field as it was."""
    turns = [builders.turn(index) for index in range(3)]
    folder.append([turns[2]])
    folder.append(turns[:2])
    assert store.read_run(folder.path).turns == tuple(turns)


def test_a_call_made_again_replaces_its_turns(folder: RunFolder) -> None:
    """Of two lines for one turn the later holds."""
    first, again = builders.turn(0, scale=1.0), builders.turn(0, scale=2.0)
    folder.append([first])
    folder.append([again])
    assert store.read_run(folder.path).turns == (again,)


def test_a_torn_last_line_is_left_out_and_reported(folder: RunFolder) -> None:
    """What a kill in mid-write left is dropped with a note; the turns before it stay."""
    turns = [builders.turn(index) for index in range(2)]
    folder.append(turns)
    whole = (folder.path / store.TURNS).read_bytes()
    (folder.path / store.TURNS).write_bytes(whole + whole[:100])
    run = store.read_run(folder.path)
    assert run.turns == tuple(turns)
    assert run.notes == ("turns.jsonl: a torn last line of 100 bytes was ignored",)


def test_mending_keeps_the_next_turn_off_the_torn_line(folder: RunFolder) -> None:
    """A resumed run appends after the last whole line."""
    turns = [builders.turn(index) for index in range(3)]
    folder.append(turns[:2])
    with (folder.path / store.TURNS).open("ab") as file:
        file.write(b'{"call": 2, "ca')
    folder.repair()
    folder.append(turns[2:])
    run = store.read_run(folder.path)
    assert (run.turns, run.notes) == (tuple(turns), ())


@pytest.mark.parametrize("name", [store.SPANS, store.GPU, store.PROCESS])
def test_mending_removes_torn_rows_of_the_samplers(folder: RunFolder, name: str) -> None:
    """A half row would make nonsense of the first row that a resumed run writes."""
    (folder.path / name).write_bytes(b"1.0,2\n1.5")
    folder.repair()
    assert (folder.path / name).read_bytes() == b"1.0,2\n"


def test_mending_removes_the_drafts_of_a_killed_writer(folder: RunFolder) -> None:
    """A draft has another name each time, so that kills would leave ever more; a report's may be in use."""
    names = (store.RUN, store.TURNS, f"{store.CALLS}/0001.wav", "report.html")
    code = (
        "import os, sys, pathlib; from turngap_agent import files\nwith files.replacing(pathlib.Path(sys.argv[1])):\n"
    )
    for name in names:
        killed = subprocess.run(
            [sys.executable, "-c", f"{code}    os.kill(os.getpid(), 9)", folder.path / name], check=False
        )
        assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.path.rglob(".*.*"))) == len(names)  # without `.lock`
    folder.repair()
    (left,) = folder.path.rglob(".*.*")
    assert left.name.startswith(".report.html.")
    assert store.read_run(folder.path).record.run_id == "a-run"


def test_damage_before_the_last_line_is_refused(folder: RunFolder) -> None:
    """A line in the middle that is no turn is damage, named by its number."""
    folder.append([builders.turn(0)])
    with (folder.path / store.TURNS).open("ab") as file:
        file.write(b"what\n")
    with pytest.raises(RunFolderError, match=r"turns\.jsonl:2: damaged"):
        store.read_run(folder.path)


@pytest.mark.parametrize("kill_after", [1, 7, 23])
def test_kill_9_in_mid_append_loses_no_finished_turn(tmp_path: Path, kill_after: int) -> None:
    """Every turn whose append returned is there after SIGKILL."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    writer = (
        "import itertools, sys, pathlib\n"
        "from turngap.store.folder import RunFolder\n"
        "from turngap.model.turn import TurnRecord\n"
        "turn = TurnRecord.model_validate_json(sys.stdin.read())\n"
        f"folder = RunFolder(pathlib.Path({str(folder.path)!r}))\n"
        "for call in itertools.count():\n"
        "    folder.append([turn.model_copy(update={'call': call})])\n"
        "    print(call, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", writer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(builders.turn(0).model_dump_json())
        process.stdin.close()
        for _ in range(kill_after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        reported = kill_after + len(process.stdout.read().splitlines())
    assert len(store.read_run(folder.path).turns) >= reported


def test_a_write_that_fails_leaves_the_old_run_json(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json is replaced whole or not at all, and no half-written file stays."""
    before = (folder.path / store.RUN).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(HarnessError, match=r"run\.json: cannot be written \(No space left on device\)"):
        folder.write(builders.run_record([]))
    assert (folder.path / store.RUN).read_bytes() == before
    assert not list(folder.path.glob(".run*"))


def test_a_disk_that_fills_up_tears_no_line(folder: RunFolder) -> None:
    """Turns that fit only in part raise one error and leave nothing; what is appended later is on its own line."""
    turns = [builders.turn(index) for index in range(3)]
    folder.append(turns[:1])
    size = (folder.path / store.TURNS).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        with pytest.raises(HarnessError, match=r"turns\.jsonl: cannot be written \(File too large\)"):
            folder.append(turns[1:2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (folder.path / store.TURNS).stat().st_size == size
    folder.append(turns[2:])
    assert store.read_run(folder.path).turns == (turns[0], turns[2])


def test_a_future_schema_is_refused(folder: RunFolder) -> None:
    """A newer turngap's run is not guessed at; the message says what to do."""
    data = json.loads((folder.path / store.RUN).read_text())
    (folder.path / store.RUN).write_text(json.dumps(data | {"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(RunFolderError, match=r"schema version \d+ is newer than \d+.*update turngap"):
        store.read_run(folder.path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run folder"),
        ("", "damaged"),
        ('{"schema_version": 1, "run_id"', "damaged"),
        ("[]", "not a run of turngap"),
        ('{"name": "other"}', "not a run of turngap"),
        ('{"schema_version": true}', "not a run of turngap"),
        ('{"schema_version": 1}', "damaged: run_id"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """Foreign, empty and truncated run.json are each one line with the path."""
    if content is not None:
        (tmp_path / store.RUN).write_text(content)
    with pytest.raises(RunFolderError, match=message) as caught:
        store.read_run(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_older_data_is_migrated_step_by_step() -> None:
    """Each version's step is applied in order, to runs and to turns by their own function."""
    table = {
        1: Migration(run=lambda data: data | {"a": 1}, turn=lambda data: data | {"t": 1}),
        2: Migration(run=lambda data: {"b": data["a"] + 1}, turn=lambda data: data),
    }
    assert store.migrate({}, 1, part="run", table=table, to=3) == {"b": 2}
    assert store.migrate({}, 1, part="turn", table=table, to=3) == {"t": 1}


def test_a_version_without_a_step_is_refused() -> None:
    """A gap in the table is reported, not guessed over."""
    with pytest.raises(RunFolderError, match="schema version 1 can't be read any more"):
        store.migrate({}, 1, part="run", table={}, to=2)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """--out below a file is no folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no run folder can be made there"):
        RunFolder.create(tmp_path / "file" / "results", "run", builders.run_record([]))
