"""`turngap history`: the page of a folder of runs, and the latest figures of each series."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table
from rich.text import Text

from turngap.history.chart import describe_step
from turngap.history.page import write_history_page
from turngap.history.series import Series, read_history
from turngap.progress import PipeConsole
from turngap.report.wording import ms

PAGE = "history.html"


def run(folder: Path, out: Path | None, *, as_json: bool) -> int:
    """Read the folder's runs, write the page, print the series or JSON; return the exit code.

    Raises:
        RunFolderError: there is no run in the folder.
        UsageError: the page cannot be written.
        HarnessError: the disk is full.
    """
    history = read_history(folder)
    reports = folder.resolve().parent / "reports"
    page = out or (reports if folder.resolve().name == "results" else folder) / PAGE
    if as_json:
        print(json.dumps(history.to_json(), indent=1, ensure_ascii=False))
        return 0
    write_history_page(history, page, reports)
    console = PipeConsole()
    table = Table(box=None, pad_edge=False)
    for heading in ("series", "runs", "latest median", "p95", "verdict", "last change"):
        table.add_column(heading, justify="left" if heading in ("series", "verdict", "last change") else "right")
    for series in history.series:
        table.add_row(*_row(series))
    console.print(table)
    for line in history.skipped:
        console.print(f"not read: {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"history: {page}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _row(series: Series) -> tuple[Text, ...]:
    latest = series.points[-1]
    change = "none"
    if series.changes:
        place = series.changes[-1]
        change = f"{describe_step(series, place)} from {series.points[place].started[:10]} on"
    cells = (
        series.title,
        str(len(series.points)),
        f"{ms(latest.p50_ms)} ms",
        f"{ms(latest.p95_ms)} ms",
        str(latest.verdict),
        change,
    )
    return tuple(Text(cell) for cell in cells)
