"""A capacity run's folder: `capacity.json`, and a run folder for each point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turngap_agent.documents import FrozenModel

from turngap.capacity.knee import Knee
from turngap.capacity.points import PointRecord
from turngap.capacity.search import Answer, Step
from turngap.capacity.shapes import LoadShape
from turngap.model.budget import Budget
from turngap.store import disk
from turngap.store import folder as store
from turngap.store.disk import FolderLock

CAPACITY = "capacity.json"
SCHEMA_VERSION = 1


class CapacityRecord(FrozenModel):
    """`capacity.json`."""

    schema_version: int = SCHEMA_VERSION
    capacity_id: str
    started: str
    """ISO 8601, UTC."""
    complete: bool
    """False while it is under way, and where it was interrupted."""
    scenario: str
    scenario_path: str
    scenario_sha256: str
    profile: str
    """Or `url`."""
    url: str = ""
    seed: int
    turns: int | None
    """The value of `--turns`."""
    budget: Budget | None
    judged: bool
    """Whether the budget decides at each point; else it is only drawn."""
    metric: str
    """The time that points are drawn by: `turn_gap_ms` or `perceived_gap_ms`, from the planned time."""
    budget_ms: float | None
    """The budget's limit on it."""
    shape: LoadShape
    loads: tuple[float, ...]
    """The loads that were asked for; () for a search."""
    by_rate: bool
    """They are calls a second, not calls under way."""
    searches: bool
    machine: dict[str, Any]
    """The processors, memory and GPUs, as in `run.json`."""
    answered_s: float | None = None
    """The agent's part of a turn in a call's planned length, as the first load had it; null before that ..."""
    probed_s: float | None = None
    """... and of the last turn of a probe call."""
    points: tuple[PointRecord, ...] = ()
    steps: tuple[Step, ...] = ()
    """Of a search, in their order."""
    knee: Knee | None = None
    answer: Answer | None = None
    """Of a search."""
    stopped: str = ""
    """Why higher loads were not tried; "" if all were."""
    sentence: str = ""
    """The result in one sentence or two."""
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_capacity(path: Path) -> bool:
    """Return whether the folder is that of a capacity run."""
    return (path / CAPACITY).is_file()


def create_folder(
    out: Path, record: CapacityRecord, scenario: str | None = None
) -> tuple[Path, CapacityRecord, FolderLock]:
    """Make the folder under `out`, with `capacity.json` in it from the first moment; an existing name gets a number.

    `scenario` is the text of a scenario that is in no other file.

    Raises:
        UsageError: no folder can be made there.
        HarnessError: the disk is full.
    """

    def fill(fresh: Path, capacity_id: str) -> None:
        write_capacity(fresh, record.model_copy(update={"capacity_id": capacity_id}))
        if scenario is not None:
            (fresh / store.SCENARIO).write_text(scenario, "utf-8")

    path, lock = disk.new_folder(out, record.capacity_id, "capacity", fill)
    return path, record.model_copy(update={"capacity_id": path.name}), lock


def write_capacity(path: Path, record: CapacityRecord) -> None:
    """Replace `capacity.json` atomically.

    Raises:
        HarnessError: it can't be written.
    """
    disk.replace_file(path / CAPACITY, record.model_dump_json(indent=2) + "\n")


def read_capacity(path: Path) -> CapacityRecord:
    """Read `capacity.json`.

    Raises:
        RunFolderError: it is not the folder of a capacity run, is damaged, or was written by a newer version.
    """
    _, data = disk.load_json(path / CAPACITY, "capacity", SCHEMA_VERSION)
    return disk.validate_json(CapacityRecord, json.dumps(data), str(path / CAPACITY))
