"""What `turngap sweep` does, once the command line is understood, and `turngap report` of a sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import HarnessError, TurngapError, UsageError

from turngap.cli import run as one_run
from turngap.cli.display import Display
from turngap.clock import SystemClock
from turngap.corpus import clips as corpus
from turngap.model.plural import plural
from turngap.report.wording import ms, percent
from turngap.session import preparation
from turngap.session.plan import DEFAULT_SCENARIO, Options
from turngap.sweep import folder, grid, page, plan
from turngap.sweep.folder import is_sweep
from turngap.sweep.plan import SweepRequest
from turngap.sweep.points import Point
from turngap.sweep.runner import FinishedSweep, run_sweep

__all__ = ["is_sweep", "report_again", "resume", "run"]

INTERRUPTED = "interrupted before the sweep started: nothing is kept"


def run(
    scenario: str | None,
    sets: Sequence[str],
    grid_file: Path | None,
    *,
    profile: str | None,
    turns: int | None,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """A new sweep; gives the exit code: 2 where a setting's run is INVALID or the sweep did not end by itself.

    Raises:
        UsageError: (or a subclass) something does not fit; nothing was started.
    """
    if sets and grid_file is not None:
        raise UsageError("--set and --grid both say what to sweep: give one of them")
    settings = grid.load(grid_file) if grid_file is not None else grid.product(sets)
    options = Options(seed=seed, n_turns=turns, out=out or Path("results"))
    asked = plan.make(scenario or DEFAULT_SCENARIO, settings, profile=profile, options=options)
    return _do(asked, as_json=as_json)


def resume(path: Path, *, as_json: bool) -> int:
    """The rest of an unfinished sweep; gives the exit code as `run`.

    Raises:
        UsageError: (or a subclass) it can't be gone on with.
    """
    return _do(plan.resume(path), as_json=as_json)


def report_again(path: Path, out: Path | None = None) -> Path:
    """Render a sweep's report; gives the file.

    Raises:
        RunFolderError: it is no sweep folder, or damaged.
        HarnessError: the report can't be written.
    """
    file = out or one_run.report_path(path)
    page.render(path, file)
    return file


def _do(asked: SweepRequest, *, as_json: bool) -> int:
    news, figures = Console(stderr=True), Console(stderr=as_json)
    try:
        swept = _sweep(asked, news)
    except KeyboardInterrupt as interrupt:
        return one_run.complain(news, HarnessError(str(interrupt) or INTERRUPTED))
    return _close(swept, figures, news, as_json=as_json)


def _sweep(asked: SweepRequest, news: Console) -> FinishedSweep:
    if asked.path is not None and not asked.members:  # killed when all had been measured
        record = folder.updated_record(asked.path, asked.record)
        folder.write(asked.path, record)
        return FinishedSweep(record, asked.path)
    with Display(news, f"sweep {asked.record.scenario}") as display:
        display.show_message(asked.description)
        for member in asked.members:
            preparation.fetch_weights(member.row.profile_data)
        clips = corpus.prepare(asked.members[0].request.scenario, display.show_message)
        ready = plan.with_corpus(asked, clips)
        return asyncio.run(
            one_run.interruptible(
                lambda stop: run_sweep(ready, clips, display, clock=SystemClock(), stop=stop), display
            )
        )


def _close(swept: FinishedSweep, figures: Console, news: Console, *, as_json: bool) -> int:
    codes = [point.verdict.exit_code for point in swept.record.points]
    if swept.record.points:
        _show(swept.record.points, figures)
    for point in swept.record.points:
        if point.verdict.exit_code:
            said = f"{point.name}: {point.verdict}; see {swept.path / point.slug}/run.json"
            figures.print(said, highlight=False, markup=False, soft_wrap=True)
    if swept.error is not None:
        codes.append(one_run.complain(news, swept.error))
    try:
        figures.print(f"report: {report_again(swept.path)}", highlight=False, markup=False, soft_wrap=True)
    except TurngapError as fault:
        codes.append(one_run.complain(news, fault))
    figures.print(f"sweep: {swept.path}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print(swept.record.model_dump_json(indent=2))
    return max(codes, default=0)


def _show(points: Sequence[Point], figures: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "turns", "answered", "median", "p95", "cut off", "at most", "against 1, ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, point in enumerate(points, 1):
        marks = ["the profile's own"] if point.current else []
        if not point.on_front:
            marks.append("dominated" if point.ranked else "too few turns to rank")
        told = f"{number}  {point.name}" + (f" ({', '.join(marks)})" if marks else "")
        figures.print(told, highlight=False, markup=False, soft_wrap=True)
        moved = point.difference
        change = "" if moved is None else f"{plural(moved.pairs, 'pair')}: too few"
        if moved is not None and None not in (moved.median_change_ms, moved.low_ms, moved.high_ms):
            change = f"{moved.median_change_ms:+.0f} ({moved.low_ms:+.0f} to {moved.high_ms:+.0f})"
        table.add_row(
            str(number),
            str(point.n_turns),
            str(point.answered),
            ms(point.turn_gap_ms.p50),
            ms(point.turn_gap_ms.p95),
            f"{point.cut_off_rate.events} of {point.cut_off_rate.n}",
            percent(point.cut_off_rate.upper),
            change,
        )
    figures.print(table)
    for text in dict.fromkeys(text for point in points for text in point.take_care):
        of = [str(number) for number, point in enumerate(points, 1) if text in point.take_care]
        which = "" if len(of) == len(points) else f" (of {', '.join(of)})"
        figures.print(f"take care    {text}{which}", highlight=False, markup=False, soft_wrap=True)
