"""A sweep's report: one self-contained page, rendered from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turngap_agent.tracing import Stage

from turngap.model.plural import plural
from turngap.model.result import Verdict
from turngap.model.turn import TurnRecord
from turngap.report import template, wording
from turngap.session.run_record import with_caveat
from turngap.sweeps import charts, folder
from turngap.sweeps.folder import SweepRecord
from turngap.sweeps.points import Point


def write_sweep_page(path: Path, out: Path) -> None:
    """Render the sweep in folder `path` to the file `out`.

    Raises:
        RunFolderError: the folder has no sweep that this version can read.
        HarnessError: `out` cannot be written.
    """
    record = folder.updated_record(path, folder.read_sweep(path))
    runs = folder.read_runs(path, record)
    template.write_page(
        out, render_sweep_page(record, [run.turns for _, run in runs], [run.record.scenario for _, run in runs])
    )


def render_sweep_page(record: SweepRecord, turns: list[tuple[TurnRecord, ...]], scenarios: list[str]) -> str:
    """Return the page of a record whose points are in the order of `turns`."""
    points = record.points
    drawable = [point for point in points if point.turn_gap_ms.p50 is not None]
    context: dict[str, Any] = {
        "sweep": record,
        "points": points,
        "waiting": len(record.settings) - len(points),
        "scenario": scenarios[0] if scenarios else record.scenario,
        "sentence": with_caveat(summary_sentence(points), record.settings[0].profile_data if record.settings else {}),
        "median": charts.trade_off("trade-off-median", "median turn gap", points, lambda point: point.turn_gap_ms.p50)
        if drawable
        else None,
        "p95": charts.trade_off("trade-off-p95", "p95 of the turn gap", points, lambda point: point.turn_gap_ms.p95)
        if any(point.turn_gap_ms.p95 is not None for point in points)
        else None,
        "not_drawn": wording.join_words([str(n) for n, point in enumerate(points, 1) if point.turn_gap_ms.p95 is None]),
        "distributions": charts.distributions(points, turns) if drawable else None,
        "stages": [stage for stage in Stage if any(stage in point.exposed_p50_ms for point in points)],
        "stage_words": wording.STAGE,
        "stage_role": wording.ROLE,
        "invalid": [point.name for point in points if point.verdict is Verdict.INVALID],
        "plural": plural,
        "signed": wording.signed_ms,
        "json": template.embed_json(record.model_dump(mode="json")),
    }
    return (
        template.template_environment("sweeps")
        .get_template("sweep.html.j2")
        .render(**context, style=template.style_sheet())
    )


def summary_sentence(points: tuple[Point, ...]) -> str:
    """Return the result of the sweep in one sentence."""
    front = [point for point in points if point.on_front and point.turn_gap_ms.p50 is not None]
    if not front:
        return "No setting has enough turns to be ranked."
    fastest = min(front, key=lambda point: point.turn_gap_ms.p50 or 0.0)
    rate = fastest.cut_off_rate
    share = f"{len(front)} of {plural(len(points), 'setting')} {'is' if len(front) == 1 else 'are'}"
    text = (
        f"{share} dominated by no other; the fastest, {fastest.name}, has a median turn gap of "
        f"{wording.ms(fastest.turn_gap_ms.p50)} ms with {plural(rate.events, 'false cut-off')} in "
        f"{plural(rate.n, 'turn')}"
    )
    bound = f" (at most {wording.percent(rate.upper)})" if rate.upper is not None else ""
    return f"{text}{bound}{f', measured on {fastest.speech}' if fastest.speech else ''}."
