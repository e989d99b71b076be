"""`turngap capacity`: loads and what they show, a search step by step, capacity runs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import HarnessError, TurngapError, UsageError

from turngap.api.capacity import Capacity, execute, load_capacity
from turngap.capacity.page import check_comparable, name_series
from turngap.capacity.plan import CapacityRequest
from turngap.capacity.points import Decision, PointRecord
from turngap.capacity.wording import describe_caller
from turngap.cli.run import print_document, print_error
from turngap.progress import PipeConsole
from turngap.report.wording import bound_text, ms, percent

INTERRUPTED = "interrupted before the first call: nothing is kept"
COMPARISON = "capacity-comparison.html"
_COLUMNS = ("load", "under way", "peak", "a second", "turns", "p50", "p95", "p95 ≤", "refused", "wasted", "", "caller")


def run(request: CapacityRequest, *, as_json: bool) -> int:
    """Measure, print and render; return the exit code.

    0: measured, or a load holds the budget; 1: no load is shown to hold it; 2: every point is INVALID, or it was ended
    early.
    """
    errors, figures = PipeConsole(stderr=True), PipeConsole(stderr=as_json)
    try:
        capacity = execute(request, progress=True)
    except KeyboardInterrupt as interrupt:
        return print_error(errors, HarnessError(str(interrupt) or INTERRUPTED))
    _print_capacity(capacity, figures)
    codes = [find_exit_code(capacity)]
    if capacity.error is not None:
        codes.append(print_error(errors, capacity.error))
    try:
        _print_line(figures, f"report: {capacity.report()}")
    except TurngapError as error:
        codes.append(print_error(errors, error))
    _print_line(figures, f"capacity: {capacity.path}")
    if as_json:
        print_document(capacity.record.model_dump_json(indent=2))
    return max(codes)


def compare(folders: Sequence[str], out: Path | None, *, as_json: bool) -> int:
    """Print capacity runs side by side, and render them on one page.

    Raises:
        UsageError: fewer than two are given, one of them is none, or they cannot be in one chart.
    """
    if len(folders) < 2:
        raise UsageError("--compare: give at least two capacity runs, as in --compare ONE --compare OTHER")
    capacities = [load_capacity(folder) for folder in folders]
    check_comparable([each.record for each in capacities])
    figures = PipeConsole(stderr=as_json)
    named = zip(name_series([each.record for each in capacities]), capacities, strict=True)
    for series, capacity in named:
        _print_line(figures, f"{series.name}: {capacity.record.sentence}")
        figures.print(make_table(capacity.record.points))
    file = capacities[0].report(out or Path("reports") / COMPARISON, beside=capacities[1:])
    _print_line(figures, f"report: {file}")
    if as_json:
        print_document(json.dumps([each.record.model_dump(mode="json") for each in capacities], indent=2))
    return 0


def find_exit_code(capacity: Capacity) -> int:
    """Return the exit code of a capacity run, its errors apart."""
    record = capacity.record
    decisions = [point.decision for point in record.points]
    if not decisions or all(decision is Decision.INVALID for decision in decisions):
        return 2
    if not record.judged:
        return 0
    return 0 if Decision.HOLDS in decisions else 1


def make_table(points: Sequence[PointRecord]) -> Table:
    """Return the points as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in _COLUMNS:
        left = column in ("load", "", "caller")
        table.add_column(column, justify="left" if left else "right", no_wrap=not left)
    for point in points:
        table.add_row(
            point.name,
            f"{point.under_way.mean:.1f}",
            str(point.under_way.peak),
            "–" if point.arrivals_per_s is None else f"{point.arrivals_per_s:.2f}",
            str(point.n_turns),
            ms(point.gap_ms.p50),
            ms(point.gap_ms.p95),
            bound_text(point.gap_ms),
            f"{point.refused} of {point.calls_placed}",
            percent(point.wasted.share if point.wasted is not None else None, 0),
            f"{point.decision}{', saturated' if point.saturated else ''}",
            describe_caller(point),
        )
    return table


def _print_capacity(capacity: Capacity, figures: Console) -> None:
    record = capacity.record
    if record.points:
        figures.print(make_table(record.points))
    for place, step in enumerate(record.steps, 1):
        _print_line(
            figures, f"step {place}: {step.calls} at once: {step.decision}, {step.turns} turns: {step.sentence}"
        )
    for point in record.points:
        for sign in point.signs:
            _print_line(figures, f"{point.name}: {sign.kind}: {sign.text}")
        for reason in point.caller.reasons:
            _print_line(figures, f"{point.name}: INVALID: {reason}")
        if point.recovery is not None:
            recovered = point.recovery.seconds
            text = f"within {recovered:.1f} s" if recovered is not None else "not while the load lasted"
            _print_line(figures, f"{point.name}: answers as before after {point.recovery.after}: {text}")
    if record.stopped:
        _print_line(figures, record.stopped)
    _print_line(figures, record.sentence)


def _print_line(figures: Console, text: str) -> None:
    figures.print(text, highlight=False, markup=False, soft_wrap=True)
