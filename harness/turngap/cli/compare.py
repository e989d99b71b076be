"""What `turngap compare` does: reads two runs, and shows what became slower or faster."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turngap.report.wording import STAGE
from turngap.store import folder as store
from turngap.verdict import compare
from turngap.verdict.compare import Change, LatencyChange

_COLUMNS = ("change", "95 % interval", "turns", "")


def show(head: str, base: str, *, as_json: bool, console: Console) -> None:
    """Print HEAD against BASE, each a run's folder or its id under `results/`.

    Raises:
        RunFolderError: one of them is no run folder, or damaged.
    """
    new, old = store.read(found(head)), store.read(found(base))
    rows = compare.compare_runs(new.turns, old.turns)
    notes = [*compare.describe_too_few(rows), *compare.describe_differences(new.record, old.record)]
    if as_json:
        data = {"head": new.record.run_id, "base": old.record.run_id, "notes": notes}
        print(json.dumps(data | {"rows": [asdict(row) for row in rows]}, indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("ms", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for note in notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def found(run: str) -> Path:
    """The run's folder: that path, or that id under `results/`."""
    path = Path(run)
    return path if path.exists() or not (Path("results") / run).is_dir() else Path("results") / run


def _cells(row: LatencyChange) -> tuple[str, ...]:
    name, change = STAGE[row.stage][0] if row.stage is not None else "turn gap", row.found
    size = "-" if change.median_change_ms is None else f"{change.median_change_ms:+.1f}"
    if change.low_ms is None or change.high_ms is None:
        interval = row.interval_missing
    else:
        interval = f"{change.low_ms:+.1f} to {change.high_ms:+.1f}"
    return name, size, interval, row.turns, "" if change.change is Change.TOO_FEW else change.change.value
