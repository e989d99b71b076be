"""The folder of a run: a kill at any moment loses no finished turn, and a damaged folder is refused.

`run.json` is replaced atomically. `turns.jsonl` is appended to, each call's turns in one synchronised write, and
replaced when the run ends. If it has a turn twice (of a call that was placed again), the last line counts.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from turngap_agent import files
from turngap_agent.errors import HarnessError, RunFolderError
from turngap_agent.tracing import HEALTH_LOG, STACK_NAMES, STACK_RING

from turngap.model.plural import plural
from turngap.model.result import SCHEMA_VERSION, RunRecord
from turngap.model.turn import TurnRecord
from turngap.store import disk
from turngap.store.disk import FolderLock, Json

RUN, TURNS, SPANS, GPU, PROCESS = "run.json", "turns.jsonl", "spans.jsonl", "gpu.csv", "process.csv"
SENTINEL, AGENT_LOG, PROFILE, CALLS = "sentinel.jsonl", "agent.log", "profile.yaml", "calls"
HEALTH = "health.csv"
LOAD = "load.jsonl"
"""When the calls of a point of `turngap capacity` were planned, and when they were placed."""
_BESIDE_TURNS = (SPANS, GPU, PROCESS, HEALTH, SENTINEL, AGENT_LOG, PROFILE, CALLS)
"""A folder with `run.json` and none of these is a stored baseline, not a run that lost its turns."""
SCENARIO = "scenario.yaml"
"""A scenario that was given as an object; others stay in their files."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Converts data of one schema version to the next."""

    run: Callable[[Json], Json]
    turn: Callable[[Json], Json]


MIGRATIONS: Mapping[int, Migration] = {}
"""By the version they convert from; none is needed yet."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as read from its folder."""

    record: RunRecord
    turns: tuple[TurnRecord, ...]
    notes: tuple[str, ...]
    """What was ignored in reading, one line each."""


class RunFolder:
    """The folder of a run, for its one writer."""

    def __init__(self, path: Path, lock: FolderLock | None = None) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def create(cls, out: Path, name: str, record: RunRecord, scenario: str | None = None) -> Self:
        """Make the folder under `out`, with `run.json` in it from the first moment; an existing `name` gets a number.

        `scenario` is the text of a scenario that is in no other file.

        Raises:
            UsageError: no folder can be made there.
            HarnessError: the disk is full.
        """

        def fill(fresh: Path, run_id: str) -> None:
            (fresh / CALLS).mkdir(exist_ok=True)
            (fresh / TURNS).touch()
            if scenario is not None:
                (fresh / SCENARIO).write_text(scenario, "utf-8")
            cls(fresh).write(record.model_copy(update={"run_id": run_id}))

        return cls(*disk.new_folder(out, name, "run", fill))

    def write(self, record: RunRecord) -> None:
        """Replace `run.json` atomically.

        Raises:
            HarnessError: it can't be written.
        """
        disk.replace_file(self.path / RUN, record.model_dump_json(indent=2) + "\n")

    def append(self, turns: Iterable[TurnRecord]) -> None:
        """Append finished turns and wait until the disk has them; if that fails, none is appended.

        Raises:
            HarnessError: they can't be written.
        """
        lines = "".join(turn.model_dump_json() + "\n" for turn in turns)
        try:
            with (self.path / TURNS).open("ab", buffering=0) as file:
                disk.append_bytes(file, lines.encode())
        except OSError as error:
            raise HarnessError(f"{self.path / TURNS}: cannot be written ({error.strerror or error})") from None

    def replace_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Replace `turns.jsonl` atomically.

        Raises:
            HarnessError: it can't be written.
        """
        disk.replace_file(self.path / TURNS, "".join(turn.model_dump_json() + "\n" for turn in turns))

    def repair(self) -> None:
        """Remove what a kill left: torn last lines, so that the next append starts a new line, and drafts of files.

        Raises:
            RunFolderError: a file that would be written is a link: a run makes none, and it may lead anywhere.
        """
        logs = (TURNS, SPANS, SENTINEL, GPU, PROCESS, HEALTH, HEALTH_LOG)
        for name in (RUN, *logs, AGENT_LOG, PROFILE, CALLS, STACK_RING, STACK_NAMES, disk.LOCK):
            if (self.path / name).is_symlink():
                raise RunFolderError(f"{self.path / name}: a link; a run that is resumed needs the file itself")
        for name in logs:
            file = self.path / name
            if file.is_file():
                data = file.read_bytes()
                if not data.endswith(b"\n"):
                    os.truncate(file, data.rfind(b"\n") + 1)
        for name in (RUN, TURNS):
            files.remove_drafts(self.path, name)
        if (self.path / CALLS).is_dir():
            files.remove_drafts(self.path / CALLS)


def resume_command(path: Path, kind: Literal["run", "sweep"] = "run") -> str:
    """Return the command that resumes the run or the sweep in `path`, as it is typed into a shell."""
    return shlex.join(["turngap", kind, "--resume", str(path)])


def read_run(path: Path) -> StoredRun:
    """Read a run folder, also of an older schema.

    Raises:
        RunFolderError: it is not a run folder, is damaged by more than a torn last line, lacks turns that `run.json`
            counts, or is of a newer version.
    """
    version, data = disk.load_json(path / RUN, "run", SCHEMA_VERSION)
    if version < SCHEMA_VERSION:
        data = migrate(data, version, part="run")
    record = disk.validate_json(RunRecord, json.dumps(data), str(path / RUN))
    turns, notes = read_turns(path / TURNS, version)
    return StoredRun(record, turns, (*notes, *_check_turns_are_there(path, record, turns)))


def _check_turns_are_there(path: Path, record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[str, ...]:
    """Refuse a run that lost its turns; return the note on a stored baseline, which never had them."""
    listed = f"{RUN} lists {plural(record.n_turns, 'turn')}; copy the whole folder again"
    if record.n_turns and not (path / TURNS).is_file():
        if any((path / name).exists() for name in _BESIDE_TURNS):
            raise RunFolderError(f"{path}: {TURNS} is missing; {listed}", code="run-folder.turns-missing")
        return (f"{RUN} is alone here: a baseline's figures, without its turns",)
    scored = sum(turn.scored for turn in turns)
    if record.complete and scored < record.n_turns:
        raise RunFolderError(
            f"{path}: {TURNS} has only {plural(scored, 'scored turn')}; {listed}", code="run-folder.turns-missing"
        )
    return ()


def read_turns(file: Path, version: int = SCHEMA_VERSION) -> tuple[tuple[TurnRecord, ...], tuple[str, ...]]:
    """Return the turns of `turns.jsonl` in the order of calls, and notes on what was ignored.

    Raises:
        RunFolderError: a line other than the last is not a turn, or the file cannot be read.
    """
    try:
        data = disk.read_file(file, disk.LARGEST_LINES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return (), ()
    except OSError as error:
        raise RunFolderError(f"{file}: cannot be read ({error.strerror})") from None
    *lines, torn = data.split(b"\n")
    notes = (f"{file.name}: a torn last line of {len(torn)} bytes was ignored",) if torn else ()
    turns: dict[tuple[int, int], TurnRecord] = {}
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8", "replace")
        if version < SCHEMA_VERSION:
            text = json.dumps(migrate(json.loads(text), version, part="turn"))
        turn = disk.validate_json(TurnRecord, text, f"{file}:{number}")
        turns[turn.call, turn.turn] = turn
    return tuple(turns[key] for key in sorted(turns)), notes


def migrate(
    data: Json, version: int, *, part: str, table: Mapping[int, Migration] = MIGRATIONS, to: int = SCHEMA_VERSION
) -> Json:
    """Convert `data` (of a run or a turn) from schema `version` to version `to`, step by step.

    Raises:
        RunFolderError: a step is missing.
    """
    for step in range(version, to):
        if step not in table:
            raise RunFolderError(f"runs of schema version {step} can't be read any more; use the turngap that wrote it")
        data = (table[step].run if part == "run" else table[step].turn)(data)
    return data
