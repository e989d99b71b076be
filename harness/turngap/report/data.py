"""The data of a report from a run folder: the run and its turns, and the samplers' CSV files as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from turngap.model.result import RunRecord
from turngap.model.stage_document import StageDocument
from turngap.model.turn import TurnRecord
from turngap.store import folder as store
from turngap.store.stages import read_stages
from turngap.verdict import summary

LARGEST_SAMPLES = 256 << 20
"""Bytes of a file of samples: a year of them."""
LARGEST_SAMPLE = 1e12
"""No time, share or size is larger; what is would flatten a chart, or break it."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """A run as a report needs it."""

    path: Path
    record: RunRecord
    turns: tuple[TurnRecord, ...]
    gpu: pd.DataFrame | None
    """Columns at_s, gpu, used_mib (and more); None without samples."""
    process: pd.DataFrame | None
    """Columns at_s, cpu_percent, rss_mib (and more)."""
    notes: tuple[str, ...]
    """What was left out in reading."""
    stages: Mapping[str, StageDocument] = field(default_factory=dict)
    """The engines that were measured alone, by stage."""


def read_report_data(path: Path) -> ReportData:
    """Read a run folder; the figures of an unfinished run are computed from the turns it has.

    Raises:
        RunFolderError: the folder contains no run, a damaged one, or one of a newer version.
    """
    run = store.read_run(path)
    record = run.record
    if not record.complete and record.n_turns != sum(turn.scored for turn in run.turns):
        record = summary.recompute_figures(record, run.turns)
    notes = list(run.notes)
    gpu = _samples(path / store.GPU, ("at_s", "gpu", "used_mib"), notes)
    process = _samples(path / store.PROCESS, ("at_s", "cpu_percent", "rss_mib"), notes)
    stages, left_out = read_stages(path, record.profile)
    return ReportData(path, record, run.turns, gpu, process, (*notes, *left_out), stages)


def _samples(path: Path, columns: tuple[str, ...], notes: list[str]) -> pd.DataFrame | None:
    """Return the rows whose `columns` are all finite numbers; None if there are none."""
    if not path.is_file() or not path.stat().st_size:
        return None
    if path.stat().st_size > LARGEST_SAMPLES:
        notes.append(f"{path.name} is over {LARGEST_SAMPLES >> 20} MiB and was left out")
        return None
    try:
        frame = pd.read_csv(path, on_bad_lines="skip", encoding_errors="replace", low_memory=False)
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read and was left out ({' '.join(str(error).split())})")
        return None
    missing = [column for column in columns if column not in frame]
    if missing:
        notes.append(f"{path.name} has no column {missing[0]!r} and was left out")
        return None
    numbers = frame[list(columns)].apply(pd.to_numeric, errors="coerce").astype(float)
    numbers = numbers.where(numbers.abs() < LARGEST_SAMPLE)
    frame = frame.assign(**{column: numbers[column] for column in columns}).dropna(subset=list(columns))
    return frame if len(frame) else None
