"""The report of a capacity run, and of several side by side: one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turngap_agent.errors import UsageError

from turngap.capacity import folder
from turngap.capacity.charts import Series, draw_capacity
from turngap.capacity.folder import CapacityRecord
from turngap.capacity.wording import describe_caller
from turngap.model.plural import plural
from turngap.report import template, wording


def write_capacity_page(paths: Sequence[Path], out: Path) -> None:
    """Render the capacity run in the first folder, beside those in the others, to the file `out`.

    Raises:
        UsageError: they cannot be in one chart.
        RunFolderError: a folder has no capacity run that this version can read.
        HarnessError: `out` cannot be written.
    """
    records = [folder.read_capacity(path) for path in paths]
    check_comparable(records)
    template.write_page(out, render_capacity_page(records))


def check_comparable(records: Sequence[CapacityRecord]) -> None:
    """Refuse capacity runs that one chart would mix up.

    Raises:
        UsageError: their loads, or the times that they are drawn by, are of two kinds.
    """
    first = records[0]
    for other in records[1:]:
        if other.by_rate != first.by_rate:
            named, rest = (first, other) if first.by_rate else (other, first)
            raise UsageError(
                f"{named.capacity_id} has loads in calls a second, {rest.capacity_id} in calls at once: "
                "side by side both need --calls, or both --rate"
            )
        if other.metric != first.metric:
            raise UsageError(
                f"{first.capacity_id} is drawn by {first.metric}, {other.capacity_id} by {other.metric}: "
                "side by side both need a budget on the same time"
            )


def render_capacity_page(records: Sequence[CapacityRecord]) -> str:
    """Return the page of the records: the first one in detail, all in the chart and the table."""
    series = name_series(records)
    first = records[0]
    context: dict[str, Any] = {
        "capacity": first,
        "series": series,
        "chart": draw_capacity("capacity", series) if any(record.points for record in records) else None,
        "beside": len(records) > 1,
        "by_rate": first.by_rate,
        "describe_caller": describe_caller,
        "outcomes": wording.outcome_counts_text,
        "bound": wording.bound_text,
        "plural": plural,
        "signed": wording.signed_ms,
        "machine": describe_machine(first),
        "json": template.embed_json([record.model_dump(mode="json") for record in records]),
    }
    return (
        template.template_environment("capacity")
        .get_template("capacity.html.j2")
        .render(**context, style=template.style_sheet())
    )


def name_series(records: Sequence[CapacityRecord]) -> list[Series]:
    """Return the records with names that tell them apart: by profile, by machine where that differs, else by id."""
    names = [record.profile if record.profile != "url" else record.url for record in records]
    if len(set(names)) < len(names):
        names = [f"{name} on {record.machine.get('host', '?')}" for name, record in zip(names, records, strict=True)]
    if len(set(names)) < len(names):
        names = [record.capacity_id for record in records]
    return [Series(name, record) for name, record in zip(names, records, strict=True)]


def describe_machine(record: CapacityRecord) -> str:
    """Return the machine in a few words."""
    machine = record.machine
    memory = f", {machine['memory_mib'] / 1024:.0f} GiB" if isinstance(machine.get("memory_mib"), int | float) else ""
    return f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores', '?')} cores{memory}"
