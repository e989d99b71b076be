"""A sweep's folder: `sweep.json`, and a run folder for each setting. A sweep killed at any moment can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turngap_agent.documents import FrozenModel

from turngap.store import disk
from turngap.store import folder as store
from turngap.store.disk import FolderLock
from turngap.store.folder import StoredRun
from turngap.sweeps.points import Point, make_points
from turngap.verdict import summary

SWEEP = "sweep.json"
SCHEMA_VERSION = 1


class SettingRow(FrozenModel):
    """A setting in `sweep.json`."""

    name: str
    slug: str
    """The name of its run folder."""
    set: tuple[str, ...]
    current: bool
    """The profile itself has this setting."""
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
    """The value of `--turns`."""
    settings: tuple[SettingRow, ...]
    points: tuple[Point, ...] = ()
    """The figures of each setting, as of the last time the file was written."""


def is_sweep(path: Path) -> bool:
    """Return whether the folder is that of a sweep."""
    return (path / SWEEP).is_file()


def create_sweep(out: Path, record: SweepRecord, scenario: str | None = None) -> tuple[Path, SweepRecord, FolderLock]:
    """Make the folder under `out`, with `sweep.json` in it from the first moment; an existing name gets a number.

    `scenario` is the text of a scenario that is in no other file.

    Raises:
        UsageError: no folder can be made there.
        HarnessError: the disk is full.
    """

    def fill(fresh: Path, sweep_id: str) -> None:
        write_sweep(fresh, record.model_copy(update={"sweep_id": sweep_id}))
        if scenario is not None:
            (fresh / store.SCENARIO).write_text(scenario, "utf-8")

    path, lock = disk.new_folder(out, record.sweep_id, "sweep", fill)
    return path, record.model_copy(update={"sweep_id": path.name}), lock


def write_sweep(path: Path, record: SweepRecord) -> None:
    """Replace `sweep.json` atomically.

    Raises:
        HarnessError: it can't be written.
    """
    disk.replace_file(path / SWEEP, record.model_dump_json(indent=2) + "\n")


def read_sweep(path: Path) -> SweepRecord:
    """Read `sweep.json`.

    Raises:
        RunFolderError: it is not the folder of a sweep, is damaged, or was written by a newer version.
    """
    _, data = disk.load_json(path / SWEEP, "sweep", SCHEMA_VERSION)
    return disk.validate_json(SweepRecord, json.dumps(data), str(path / SWEEP))


def read_runs(path: Path, record: SweepRecord) -> list[tuple[SettingRow, StoredRun]]:
    """Return the runs whose folders exist, in the order of the settings.

    The figures of an unfinished run are those of the turns it has.

    Raises:
        RunFolderError: one of them is damaged.
    """
    runs = []
    for row in record.settings:
        if (path / row.slug / store.RUN).is_file():
            run = store.read_run(path / row.slug)
            current = run.record if run.record.complete else summary.recompute_figures(run.record, run.turns)
            runs.append((row, StoredRun(current, run.turns, run.notes)))
    return runs


def updated_record(path: Path, record: SweepRecord) -> SweepRecord:
    """Return the record with the figures of its settings computed from the run folders.

    Raises:
        RunFolderError: one of them is damaged.
    """
    runs = read_runs(path, record)
    complete = len(runs) == len(record.settings) and all(run.record.complete for _, run in runs)
    figures = make_points([(row.name, row.slug, row.current, run.record, run.turns) for row, run in runs])
    return record.model_copy(update={"points": figures, "complete": complete})
