"""`turngap sweep`: several settings of a profile, their figures on the terminal and their report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from turngap_agent.errors import HarnessError

from turngap.api.results import Sweep
from turngap.cli.run import print_document, print_error, print_report_path
from turngap.model.plural import plural
from turngap.progress import PipeConsole
from turngap.report.wording import ms, percent
from turngap.sweeps.points import Point

INTERRUPTED = "interrupted before the sweep started: nothing is kept"


def run(measure: Callable[[], Sweep], *, as_json: bool) -> int:
    """Do a sweep and print it; return the exit code: 2 where a setting's run is INVALID or the sweep was ended early.

    Raises:
        UsageError: (or a subclass) something does not fit; nothing was started.
    """
    errors, figures = PipeConsole(stderr=True), PipeConsole(stderr=as_json)
    try:
        sweep = measure()
    except KeyboardInterrupt as interrupt:
        return print_error(errors, HarnessError(str(interrupt) or INTERRUPTED))
    codes = [point.verdict.exit_code for point in sweep.record.points]
    if sweep.record.points:
        _print_points(sweep.record.points, figures)
    for point in sweep.record.points:
        if point.verdict.exit_code:
            line = f"{point.name}: {point.verdict}; see {sweep.path / point.slug}/run.json"
            figures.print(line, highlight=False, markup=False, soft_wrap=True)
    if sweep.error is not None:
        codes.append(print_error(errors, sweep.error))
    codes += print_report_path(sweep, figures, errors)
    figures.print(f"sweep: {sweep.path}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_document(sweep.record.model_dump_json(indent=2))
    return max(codes, default=0)


def _print_points(points: Sequence[Point], figures: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "turns", "answered", "median", "p95", "cut off", "at most", "against 1, ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, point in enumerate(points, 1):
        marks = ["the profile's own"] if point.current else []
        if not point.on_front:
            marks.append("dominated" if point.ranked else "too few turns to rank")
        heading = f"{number}  {point.name}" + (f" ({', '.join(marks)})" if marks else "")
        figures.print(heading, highlight=False, markup=False, soft_wrap=True)
        difference = point.difference
        change = "" if difference is None else f"{plural(difference.pairs, 'pair')}: too few"
        if difference is not None and None not in (difference.median_change_ms, difference.low_ms, difference.high_ms):
            change = f"{difference.median_change_ms:+.0f} ({difference.low_ms:+.0f} to {difference.high_ms:+.0f})"
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
        figures.print(f"warning      {text}{which}", highlight=False, markup=False, soft_wrap=True)
