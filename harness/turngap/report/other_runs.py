"""A run compared with others: earlier runs of its scenario and profile in the same folder, and a given baseline."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from turngap_agent.errors import TurngapError

from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import TurnRecord
from turngap.report.charts import axis_limits, draw_text, rows_of_gaps
from turngap.report.stage_table import ReferenceLine, reference_line
from turngap.report.svg import Canvas, css_colour, draw_dots, render_chart
from turngap.report.wording import ms
from turngap.store import disk, ledger
from turngap.store import folder as store
from turngap.verdict import comparison, stats, summary
from turngap.verdict.comparison import TurnsComparison

MOST_RUNS = 8
"""At most this many runs are in the chart, this one included."""
ROW = 36
"""Pixels."""
_SWEEP = "sweep.json"
Interval = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The gap of one run that the budget limits, and in what else it differs from the run that is reported."""

    run_id: str
    started: str
    n: int
    p50_ms: float | None
    p50_between_ms: Interval
    p95_ms: float | None
    p95_between_ms: Interval
    """Exact 95 % intervals; a side is None where there are too few turns for it."""
    differences: tuple[str, ...]
    status: str = ""
    """How it ended, if that says something about its figures: its verdict, "aborted" or "under way"."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """The run compared with its baseline, as by `turngap compare`."""

    run_id: str
    found: TurnsComparison
    differences: tuple[str, ...]
    """Warnings: too few turns, other machines or settings."""


def earlier_runs(path: Path, record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[EarlierRun, ...]:
    """Return this run and those before it, oldest first; () if there are none, and for runs of a sweep.

    Aborted and INVALID runs are among them: a history without them would show only what went well. Runs that cannot be
    read are left out: a report does not depend on its neighbours.
    """
    folder = path.resolve()
    if (folder.parent / _SWEEP).exists():
        return ()
    runs = []
    for file in folder.parent.glob(f"[!.]*/{store.RUN}"):
        with contextlib.suppress(OSError, ValueError, TurngapError):
            if file.parent != folder and _is_earlier(json.loads(file.read_text("utf-8")), record):
                runs.append(store.read_run(file.parent))
    runs = sorted(runs, key=lambda run: run.record.started)[1 - MOST_RUNS :]
    earlier = tuple(
        _summarise_run(run.record, run.turns, record, _describe_status(folder.parent / run.record.run_id, run.record))
        for run in runs
    )
    return (*earlier, _summarise_run(record, turns, record)) if earlier else ()


def compare_with_baseline(record: RunRecord, turns: Sequence[TurnRecord], baseline: Path) -> BaselineComparison:
    """Compare the run with the one in folder `baseline`.

    Raises:
        RunFolderError: the folder contains no run, or a damaged one.
    """
    base = store.read_run(baseline)
    found = comparison.compare_turns(turns, base.turns, record.budget or base.record.budget)
    notes = comparison.make_notes(found, record, base.record)
    return BaselineComparison(base.record.run_id, found, notes)


def draw_history(past: Sequence[EarlierRun], line: ReferenceLine) -> Markup:
    """Draw a row for each run: median and p95, each with its interval if it has one; this run is the last row."""
    values = [value for run in past for value in (run.p50_ms, run.p95_ms, *run.p50_between_ms, *run.p95_between_ms)]
    low, high = axis_limits([value for value in values if value is not None] or [line.at_ms], (line.at_ms,))

    def paint(canvas: Canvas) -> None:
        ax = rows_of_gaps(canvas, low, high, len(past), line, f"{line.measure}, ms: median ●, p95 ○", right=14)
        for place, run in enumerate(past):
            y = len(past) - 1 - place + 0.3
            role = "accent" if place == len(past) - 1 else "muted"
            for value, between in ((run.p50_ms, run.p50_between_ms), (run.p95_ms, run.p95_between_ms)):
                if value is not None:
                    ends = [value if end is None else end for end in between]
                    ax.plot(ends, [y, y], color=css_colour(role), lw=2, zorder=0.9)
            draw_dots(ax, [(run.p50_ms, y)] if run.p50_ms is not None else [], role, 9.0)
            draw_dots(ax, [(run.p95_ms, y)] if run.p95_ms is not None else [], role, 9.0)
            draw_dots(ax, [(run.p95_ms, y)] if run.p95_ms is not None else [], "paper", 5.0)
            label = run.started[:16].replace("T", " ") + (" (this run)" if role == "accent" else "")
            label += f" ({run.status})" if run.status and role != "accent" else ""
            draw_text(ax, low, y + 0.2, label, "ink" if role == "accent" else "muted")

    described = "; ".join(f"{run.run_id}: median {ms(run.p50_ms)} ms, p95 {ms(run.p95_ms)} ms" for run in past)
    height = 70 + ROW * len(past)
    title = f"Median and p95 of the {line.measure}, run by run"
    return render_chart(
        "history", title, f"{described}. The table beside it has the intervals.", paint, (640, height), (350, height)
    )


def _is_earlier(data: object, record: RunRecord) -> bool:
    expected = {"scenario": record.scenario, "profile": record.profile}
    return (
        isinstance(data, dict)
        and all(data.get(key) == value for key, value in expected.items())
        and str(data.get("started", "")) < record.started
    )


def _describe_status(path: Path, record: RunRecord) -> str:
    """Return the verdict of a run that was judged or is INVALID, or how one stands that has not come to its end."""
    if not record.complete:
        return ledger.UNDER_WAY if disk.is_locked(path) else ledger.ABORTED
    return "" if record.verdict is Verdict.MEASURED else str(record.verdict)


def _summarise_run(record: RunRecord, turns: Sequence[TurnRecord], this: RunRecord, status: str = "") -> EarlierRun:
    values = reference_line(this).gaps_ms(summary.valid_turns(turns))
    return EarlierRun(
        run_id=record.run_id,
        started=record.started,
        n=len(values),
        p50_ms=stats.percentile(values, 0.5),
        p50_between_ms=stats.quantile_interval(values, 0.5),
        p95_ms=stats.percentile(values, 0.95),
        p95_between_ms=stats.quantile_interval(values, 0.95),
        differences=tuple(comparison.describe_differences(record, this)),
        status=status,
    )
