"""A sweep's folder: `sweep.json`, and a run folder for each setting. Killed at any moment, it can be gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turngap_agent.documents import FrozenModel

from turngap.store import disk
from turngap.store import folder as store
from turngap.store.disk import FolderLock
from turngap.store.folder import Run
from turngap.sweep.points import Point, points
from turngap.verdict import summary

SWEEP = "sweep.json"
SCHEMA_VERSION = 1


class SettingRow(FrozenModel):
    """One setting as `sweep.json` has it."""

    name: str
    slug: str
    """Its run folder."""
    set: tuple[str, ...]
    current: bool
    """Nothing differs from the profile as it is."""
    profile_data: dict[str, Any]


class SweepRecord(FrozenModel):
    """`sweep.json`."""

    schema_version: int = SCHEMA_VERSION
    sweep_id: str
    started: str
    """ISO 8601, UTC."""
    complete: bool
    scenario: str
    scenario_path: str
    scenario_sha256: str
    profile: str
    seed: int
    n_turns: int | None
    """What `--turns` asked for."""
    settings: tuple[SettingRow, ...]
    points: tuple[Point, ...] = ()
    """The figures of each setting; of a sweep that was killed, those when it was last written."""


def is_sweep(path: Path) -> bool:
    """Whether the folder is a sweep's."""
    return (path / SWEEP).is_file()


def create(out: Path, record: SweepRecord) -> tuple[Path, SweepRecord, FolderLock]:
    """Make the folder under `out`, with `sweep.json` in it from the first moment; a taken name gets a number.

    Raises:
        UsageError: the folder is no place to write in.
        HarnessError: the disk is full.
    """

    def fill(fresh: Path, sweep_id: str) -> None:
        write(fresh, record.model_copy(update={"sweep_id": sweep_id}))

    path, claim = disk.new_folder(out, record.sweep_id, "sweep", fill)
    return path, record.model_copy(update={"sweep_id": path.name}), claim


def write(path: Path, record: SweepRecord) -> None:
    """Replace `sweep.json`, whole or not at all.

    Raises:
        HarnessError: it can't be written.
    """
    disk.replace_file(path / SWEEP, record.model_dump_json(indent=2) + "\n")


def read(path: Path) -> SweepRecord:
    """Read `sweep.json`.

    Raises:
        RunFolderError: it is no sweep's folder, is damaged, or comes from a newer version.
    """
    _, data = disk.load(path / SWEEP, "sweep", SCHEMA_VERSION)
    return disk.validate(SweepRecord, json.dumps(data), str(path / SWEEP))


def runs(path: Path, record: SweepRecord) -> list[tuple[SettingRow, Run]]:
    """The runs that are there, in the order of the settings; figures of one that did not end are of the turns it has.

    Raises:
        RunFolderError: one of them is damaged.
    """
    found = []
    for row in record.settings:
        if (path / row.slug / store.RUN).is_file():
            run = store.read(path / row.slug)
            fresh = run.record if run.record.complete else summary.recompute_figures(run.record, run.turns)
            found.append((row, Run(fresh, run.turns, run.notes)))
    return found


def measured(path: Path, record: SweepRecord) -> SweepRecord:
    """The record with its points made anew from the run folders.

    Raises:
        RunFolderError: one of them is damaged.
    """
    found = runs(path, record)
    whole = len(found) == len(record.settings) and all(run.record.complete for _, run in found)
    made = points([(row.name, row.slug, row.current, run.record, run.turns) for row, run in found])
    return record.model_copy(update={"points": made, "complete": whole})
