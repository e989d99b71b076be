"""The history's page: for each series its chart, its changes in words, and its runs in a table; self-contained."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from turngap.history.chart import describe_step, draw_series
from turngap.history.series import History, RunPoint, Series
from turngap.model.plural import plural
from turngap.report import template


def write_history_page(history: History, out: Path, reports: Path) -> None:
    """Write the page to `out`. `reports`: the folder of the runs' reports, unless they lie in the run's own folder.

    Raises:
        UsageError: `out` cannot be written.
        HarnessError: the disk is full.
    """
    template.write_page(out, render_history(history, out, reports))


def render_history(history: History, out: Path, reports: Path) -> str:
    """Return the page; links to reports are relative to `out`."""
    shown = []
    for number, series in enumerate(history.series, 1):
        links = [find_report(point, out, reports) for point in series.points]
        shown.append(
            {
                "title": series.title,
                "chart": draw_series(f"series-{number}", series, links),
                "changes": describe_changes(series),
                "rows": list(zip(series.points, links, strict=True))[::-1],
                "change_ids": {series.points[place].run_id: describe_step(series, place) for place in series.changes},
                "few": len([point for point in series.points if point.counts]),
            }
        )
    return (
        template.template_environment("history")
        .get_template("history.html.j2")
        .render(
            history=history,
            shown=shown,
            plural=plural,
            json=template.embed_json(history.to_json()),
            style=template.style_sheet(),
        )
    )


def find_report(point: RunPoint, out: Path, reports: Path) -> str | None:
    """Return the address of the run's report as seen from `out`; None if none was written."""
    for file in (reports / f"{point.folder.name}.html", point.folder / "report.html"):
        if file.is_file():
            return quote(os.path.relpath(file.absolute(), out.absolute().parent))
    return None


def describe_changes(series: Series) -> list[str]:
    """Return a sentence for each change: when, by how much, and which builds stand on its two sides."""
    sentences = []
    for place in series.changes:
        before, after = series.points[place - 1], series.points[place]
        when = after.started[:16].replace("T", " ")
        text = f"{describe_step(series, place)} at the median from {when} on ({after.run_id})"
        if before.build and after.build and before.build != after.build:
            text += f"; the build changed from {before.build[:8]} to {after.build[:8]}"
        elif before.build and before.build == after.build:
            text += "; the build of the agent is the same: look at the machine"
        sentences.append(f"{text}.")
    return sentences
