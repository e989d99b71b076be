"""`turngap compare`: two runs, and what became slower or faster, as a table or JSON."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turngap import api
from turngap.report.wording import STAGE
from turngap.verdict.compare import Change, LatencyChange

_COLUMNS = ("change", "95 % interval", "turns", "")


def run(head: str, base: str, *, as_json: bool, console: Console) -> None:
    """Print HEAD compared with BASE, each a run's folder or its id under `results/`.

    Raises:
        RunFolderError: one of them is no run folder, is damaged, or has no answered turns.
    """
    comparison = api.compare(head, base)
    if as_json:
        print(json.dumps(comparison.to_json(), indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("ms", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*_format_change(row))
    console.print(table)
    for note in comparison.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def _format_change(row: LatencyChange) -> tuple[str, ...]:
    name, change = STAGE[row.stage][0] if row.stage is not None else "turn gap", row.comparison
    size = "-" if change.median_change_ms is None else f"{change.median_change_ms:+.1f}"
    if change.low_ms is None or change.high_ms is None:
        interval = row.interval_missing
    else:
        interval = f"{change.low_ms:+.1f} to {change.high_ms:+.1f}"
    return name, size, interval, row.turns, "" if change.change is Change.TOO_FEW else change.change.value
