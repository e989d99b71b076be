"""What a report reads of a run folder, behind one function: run.json, turns.jsonl and the samplers' CSV files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from harness.result import SCHEMA_VERSION, RunRecord
from harness.turn import TurnRecord
from pipeline.errors import RunFolderError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run, as read."""

    path: Path
    record: RunRecord
    turns: tuple[TurnRecord, ...]
    gpu: pd.DataFrame | None
    """Columns at_s, gpu, used_mib (and more); None where there are no samples."""
    process: pd.DataFrame | None
    """Columns at_s, cpu_percent, rss_mib (and more)."""
    notes: tuple[str, ...]
    """What was left out in reading."""


def read(path: Path) -> RunFolder:
    """Read a run folder; a torn last line of turns.jsonl is left out with a note.

    Raises:
        RunFolderError: no run.json, or one that is malformed or from a newer version.
    """
    record = _record(path / "run.json")
    notes: list[str] = []
    turns = _turns(path / "turns.jsonl", notes)
    gpu = _samples(path / "gpu.csv", ("at_s", "gpu", "used_mib"), notes)
    process = _samples(path / "process.csv", ("at_s", "cpu_percent", "rss_mib"), notes)
    return RunFolder(path, record, turns, gpu, process, tuple(notes))


def _record(path: Path) -> RunRecord:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise RunFolderError(f"{path.parent}: no run.json; give the folder of a run, results/<run-id>") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise RunFolderError(f"{path}: cannot be read ({fault})") from None
    try:
        data = json.loads(text)
    except ValueError as fault:
        raise RunFolderError(f"{path}: not valid JSON: {fault}; the file is truncated or not a run's") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunFolderError(f"{path}: schema {version} is newer than this turngap reads ({SCHEMA_VERSION}); update it")
    try:
        return RunRecord.model_validate(data)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunFolderError(f"{path}: not a run of this version: `{where}`: {first['msg']}") from None


def _turns(path: Path, notes: list[str]) -> tuple[TurnRecord, ...]:
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        notes.append("turns.jsonl is missing: no turn can be shown")
        return ()
    except OSError as fault:
        raise RunFolderError(f"{path}: cannot be read ({fault})") from None
    turns: list[TurnRecord] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            turns.append(TurnRecord.model_validate_json(line))
        except ValidationError as fault:
            if number < len(lines):
                raise RunFolderError(f"{path}:{number}: not a turn: {fault.errors()[0]['msg']}") from None
            notes.append(f"line {number} of turns.jsonl is torn and was left out")
    return tuple(turns)


def _samples(path: Path, columns: tuple[str, ...], notes: list[str]) -> pd.DataFrame | None:
    try:
        frame = pd.read_csv(path, on_bad_lines="skip")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        notes.append(f"{path.name} cannot be read and was left out ({' '.join(str(fault).split())})")
        return None
    missing = [column for column in columns if column not in frame]
    if missing:
        notes.append(f"{path.name} has no column {missing[0]!r} and was left out")
        return None
    numbers = frame[list(columns)].apply(pd.to_numeric, errors="coerce")
    frame = frame.assign(**{column: numbers[column] for column in columns}).dropna(subset=list(columns))
    return frame if len(frame) else None
