"""A run's folder: written so that a kill at any moment loses no finished turn, read with suspicion.

`run.json` is replaced as a whole; `turns.jsonl` only grows, each call's turns in one synchronised write, until the run
ends and it is replaced once more. Where a turn stands twice (a call that was made again), the last line holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from harness.result import SCHEMA_VERSION, RunRecord
from harness.turn import TurnRecord
from pipeline.errors import HarnessError, RunFolderError, unwritable

RUN, TURNS, SPANS, GPU, PROCESS = "run.json", "turns.jsonl", "spans.jsonl", "gpu.csv", "process.csv"
SENTINEL, AGENT_LOG, PROFILE, CALLS, LOCK = "sentinel.jsonl", "agent.log", "profile.yaml", "calls", ".lock"

Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Migration:
    """What makes the data of one schema version those of the next."""

    run: Callable[[Json], Json]
    turn: Callable[[Json], Json]


MIGRATIONS: Mapping[int, Migration] = {}
"""By the version they start from; none is needed yet."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder holds it."""

    record: RunRecord
    turns: tuple[TurnRecord, ...]
    notes: tuple[str, ...]
    """What was left out in reading."""


class Claim:
    """The right to write a run's folder, as long as this object or its process lives: the kernel takes it back."""

    def __init__(self, path: Path) -> None:
        """Take it.

        Raises:
            RunFolderError: another run has it.
        """
        self._file: int | None = None
        try:
            self._file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"{path}: a run is writing this folder right now; wait until it has ended") from None
        except OSError:
            pass  # a file system without locks, or a fault that the first write tells of

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


class RunFolder:
    """One folder, which one run writes."""

    def __init__(self, path: Path, claim: Claim | None = None) -> None:
        self.path = path
        self.claim = claim

    @classmethod
    def create(cls, out: Path, name: str, record: RunRecord) -> Self:
        """Make the folder under `out`, with `run.json` in it from the first moment; a taken `name` gets a number.

        Raises:
            UsageError: the folder is no place to write in.
            HarnessError: the disk is full.
        """
        try:
            out.mkdir(parents=True, exist_ok=True)
            fresh = out / f".{name}.{os.getpid()}"
            (fresh / CALLS).mkdir(parents=True)
            (fresh / TURNS).touch()
            claim = Claim(fresh)
            for number in range(1, 1000):
                run_id = name if number == 1 else f"{name}-{number}"
                cls(fresh).write(record.model_copy(update={"run_id": run_id}))
                with contextlib.suppress(OSError):  # it exists and is not empty
                    fresh.rename(out / run_id)
                    _sync(out)
                    return cls(out / run_id, claim)
        except OSError as fault:
            raise unwritable(f"{out}: no run folder can be made there", fault) from None
        raise HarnessError(f"{out}: no free name for {name}")

    def write(self, record: RunRecord) -> None:
        """Replace `run.json`, whole or not at all.

        Raises:
            HarnessError: it can't be written.
        """
        self._replace(RUN, record.model_dump_json(indent=2) + "\n")

    def append(self, turns: Iterable[TurnRecord]) -> None:
        """Add finished turns and wait until the disk has them; all of them or, where that fails, none.

        Raises:
            HarnessError: they can't be written.
        """
        lines = "".join(turn.model_dump_json() + "\n" for turn in turns)
        try:
            with (self.path / TURNS).open("ab", buffering=0) as file:
                _write_whole(file, lines.encode())
        except OSError as fault:
            raise HarnessError(f"{self.path / TURNS}: cannot be written ({fault.strerror or fault})") from None

    def replace_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Write `turns.jsonl` anew, whole or not at all.

        Raises:
            HarnessError: it can't be written.
        """
        self._replace(TURNS, "".join(turn.model_dump_json() + "\n" for turn in turns))

    def mend(self) -> None:
        """Cut off torn last lines, so that what is appended next stands on a line of its own."""
        for name in (TURNS, SPANS, SENTINEL, GPU, PROCESS):
            file = self.path / name
            if file.is_file():
                data = file.read_bytes()
                if not data.endswith(b"\n"):
                    os.truncate(file, data.rfind(b"\n") + 1)

    def _replace(self, name: str, text: str) -> None:
        target = self.path / name
        fresh = self.path / f".{name}.{os.getpid()}"
        try:
            with fresh.open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(target)
            _sync(self.path)
        except OSError as fault:
            fresh.unlink(missing_ok=True)
            raise HarnessError(f"{target}: cannot be written ({fault.strerror or fault})") from None


def read(path: Path) -> Run:
    """Read a run folder, of an older schema too.

    Raises:
        RunFolderError: it is no run folder, is damaged beyond a torn last line, or comes from a newer version.
    """
    data, text = _load_run(path / RUN)
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RunFolderError(f"{path / RUN}: no run of turngap (it has no `schema_version`)")
    if version > SCHEMA_VERSION:
        raise RunFolderError(
            f"{path / RUN}: schema version {version} is newer than {SCHEMA_VERSION}, the newest this turngap reads; "
            "update turngap"
        )
    if version < SCHEMA_VERSION:
        text = json.dumps(migrate(data, version, part="run"))
    turns, notes = read_turns(path / TURNS, version)
    return Run(_validate(RunRecord, text, str(path / RUN)), turns, notes)


def read_turns(file: Path, version: int = SCHEMA_VERSION) -> tuple[tuple[TurnRecord, ...], tuple[str, ...]]:
    """The turns of `turns.jsonl` in the order of calls, the last line of each, and notes on what was left out.

    Raises:
        RunFolderError: a line that is not the last is no turn.
    """
    if not file.is_file():
        return (), ()
    *lines, torn = file.read_bytes().split(b"\n")
    notes = (f"{file.name}: a torn last line of {len(torn)} bytes was left out",) if torn else ()
    turns: dict[tuple[int, int], TurnRecord] = {}
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8", "replace")
        if version < SCHEMA_VERSION:
            text = json.dumps(migrate(json.loads(text), version, part="turn"))
        turn = _validate(TurnRecord, text, f"{file}:{number}")
        turns[turn.call, turn.turn] = turn
    return tuple(turns[key] for key in sorted(turns)), notes


def migrate(
    data: Json, version: int, *, part: str, table: Mapping[int, Migration] = MIGRATIONS, to: int = SCHEMA_VERSION
) -> Json:
    """`data` (of a run or a turn) of schema `version` as those of version `to`, step by step.

    Raises:
        RunFolderError: a step is missing.
    """
    for step in range(version, to):
        if step not in table:
            raise RunFolderError(f"runs of schema version {step} can't be read any more; use the turngap that wrote it")
        data = (table[step].run if part == "run" else table[step].turn)(data)
    return data


def _load_run(file: Path) -> tuple[Json, str]:
    try:
        text = file.read_text("utf-8")
        data = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(f"{file.parent}: no run folder (there is no {RUN} in it)") from None
    except OSError as fault:
        raise RunFolderError(f"{file}: cannot be read ({fault.strerror})") from None
    except ValueError:
        raise RunFolderError(f"{file}: damaged: it is no JSON; the run can't be read") from None
    if not isinstance(data, dict):
        raise RunFolderError(f"{file}: no run of turngap (it is no JSON object)")
    return data, text


def _validate(model: type[Model], text: str, where: str) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as fault:
        first = fault.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"{where}: damaged: {at + ': ' if at else ''}{first['msg']}") from None


def _write_whole(file: FileIO, data: bytes) -> None:
    """Append `data` and sync; where the disk takes only some of it, none stays: a torn line would spoil the next."""
    size = os.fstat(file.fileno()).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(size)
        raise


def _sync(folder: Path) -> None:
    """Make the folder's entries last, as fsync makes a file's content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
