"""What the samplers' files of a run folder tell about the time of a load: cores and GPU."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from turngap.capacity.saturation import Resources
from turngap.model.agent_figures import KvCacheFigures
from turngap.store import folder as store


def read_resources(
    folder: Path, from_s: float, to_s: float, *, gpu: int | None, kv: KvCacheFigures | None
) -> Resources:
    """Return what was used between two moments on the monotonic clock; `gpu` is the number of the agent's GPU."""
    cores = os.cpu_count() or 1
    rows = _read(folder / store.PROCESS, ("at_s", "cpu_s", "machine_cpu_s"), from_s, to_s)
    seconds = rows[-1][0] - rows[0][0] if len(rows) > 1 else 0.0
    busy = agent = None
    if seconds > 0:
        busy = min(1.0, (rows[-1][2] - rows[0][2]) / seconds / cores)
        agent = max(0.0, rows[-1][1] - rows[0][1]) / seconds
    loads = [
        row[2]
        for row in _read(folder / store.GPU, ("at_s", "gpu", "utilisation_pct"), from_s, to_s)
        if gpu is not None and row[1] == gpu
    ]
    return Resources(
        cores=cores,
        busy_share=busy,
        agent_cores=agent,
        gpu_share=sum(loads) / len(loads) / 100 if loads else None,
        kv_cache=kv,
    )


def _read(file: Path, columns: tuple[str, ...], from_s: float, to_s: float) -> list[tuple[float, ...]]:
    """Return the rows of that time; lines that lack one of the columns are left out."""
    if not file.is_file():
        return []
    rows = []
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        for line in csv.DictReader(lines):
            try:
                row = tuple(float(line.get(column) or "x") for column in columns)
            except ValueError:
                continue
            if from_s <= row[0] <= to_s:
                rows.append(row)
    return rows
