"""`turngap compare`: two runs, and what became slower or worse, faster or better, as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turngap import api
from turngap.report.wording import STAGE
from turngap.verdict.comparison import Change, LatencyChange, MeasureChange

_MEASURES = ("base", "head", "change", "95 % interval", "tolerance", "")
_STAGES = ("change", "95 % interval", "turns", "")


def run(head: str, base: str, *, as_json: bool, console: Console) -> Change:
    """Print HEAD compared with BASE, each a run's folder or its id under `results/`; return the finding.

    Raises:
        RunFolderError: one of them is no run folder, is damaged, or has no answered turns.
    """
    comparison = api.compare(head, base)
    if as_json:
        print(json.dumps(comparison.to_json(), indent=2))
        return comparison.change
    console.print(Text(comparison.sentence, style="bold"), soft_wrap=True)
    console.print()
    turns = comparison.measures[0].turns if comparison.measures else ""
    _print_table(console, turns, _MEASURES, map(_format_measure, comparison.measures))
    console.print()
    _print_table(console, "median exposed time, ms", _STAGES, map(_format_change, comparison.rows))
    for note in comparison.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    return comparison.change


def _print_table(console: Console, first: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _format_measure(row: MeasureChange) -> tuple[str, ...]:
    name = f"{row.label}, ms" if row.is_latency else row.label
    figures = row.format_figure(row.base), row.format_figure(row.head), row.format_change(row.difference)
    return name, *figures, row.interval, row.format_tolerance(), row.change.value


def _format_change(row: LatencyChange) -> tuple[str, ...]:
    name, change = STAGE[row.stage][0] if row.stage is not None else "turn gap", row.found
    size = "-" if change.median_change_ms is None else f"{change.median_change_ms:+.1f}"
    if change.low_ms is None or change.high_ms is None:
        interval = row.interval_missing
    else:
        interval = f"{change.low_ms:+.1f} to {change.high_ms:+.1f}"
    return name, size, interval, row.turns, "" if change.change is Change.TOO_FEW else change.change.value
