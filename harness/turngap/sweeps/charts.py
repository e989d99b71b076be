"""The charts of a sweep: turn gap against false cut-offs, and the gaps of every setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from turngap.model.plural import plural
from turngap.model.turn import TurnRecord
from turngap.report.svg import Canvas, annotate, css_colour, draw_dots, render_chart
from turngap.report.wording import ms, percent
from turngap.sweeps.points import AIM_MS, Point, turns_with_gap

Value = Callable[[Point], float | None]
ROW = 34
"""Height of a setting's row, pixels."""


def trade_off(name: str, title: str, points: Sequence[Point], value: Value) -> Markup:
    """Draw each setting at its turn gap (`value`) and rate of false cut-offs, with a line up to the rate's 95 % bound.

    Dominated settings are grey, the profile's current one has a ring; numbers are those of the table.
    """
    shown = [(number, point, gap) for number, point in enumerate(points, 1) if (gap := value(point)) is not None]
    top = max([0.02, *(point.cut_off_rate.upper or 0.0 for point in points)]) * 1.25
    low, high = gap_axis_limits([gap for _, _, gap in shown])

    def draw(canvas: Canvas) -> None:
        ax = canvas.axes(left=52, right=18, top=30, bottom=46)
        ax.set_xlim(low, high)
        ax.set_ylim(0, top * 100)
        ax.set_xticks(tick_positions(low, high, 4 if canvas.narrow else 6))
        ax.set_yticks(tick_positions(0, top * 100, 5))
        ax.yaxis.set_major_formatter(lambda at, _: f"{at:g} %")
        ax.grid(color=css_colour("grid"), lw=1)
        ax.set_xlabel(f"{title}, ms", color=css_colour("muted"), labelpad=8)
        if low < AIM_MS < high:
            ax.plot([AIM_MS, AIM_MS], [0, top * 100], color=css_colour("muted"), lw=1, dashes=(1, 3))
        places: list[tuple[float, float]] = []
        for number, point, gap in sorted(shown, key=lambda entry: entry[2]):
            role, ink = ("accent", "ink") if point.on_front else ("muted", "muted")
            rate, upper = 100 * (point.cut_off_rate.rate or 0.0), 100 * (point.cut_off_rate.upper or 0.0)
            ax.plot([gap, gap], [rate, upper], color=css_colour(role), lw=2)
            if point.current:
                draw_dots(ax, [(gap, rate)], "budget", 19)
                draw_dots(ax, [(gap, rate)], "paper", 14)
            draw_dots(ax, [(gap, rate)], role, 10)
            lift = _lines_to_lift(places, gap, upper, 22 * (high - low) / canvas.width)
            annotate(ax, str(number), (gap, upper), (0, 4 + 14 * lift), ink, ha="center", weight="bold")
        annotate(ax, "false cut-offs", (low, top * 100), (-46, 12), "muted")

    description = (
        f"{title} of {plural(len(shown), 'setting')} against the rate of false cut-offs, with its 95 % bound: "
        + "; ".join(
            f"{number} {point.name}: {ms(gap)} ms, {percent(point.cut_off_rate.rate)}, at most "
            f"{percent(point.cut_off_rate.upper)}" + (", dominated" if point.dominated_by is not None else "")
            for number, point, gap in shown
        )
        + ". The table beside it has the figures."
    )
    return render_chart(name, f"{title} against false cut-offs", description, draw, (500, 330), (350, 300))


def distributions(points: Sequence[Point], turns: Sequence[Sequence[TurnRecord]]) -> Markup:
    """Draw a row for each setting: every turn as a dot at its turn gap, lines at the median and at p95."""
    rows = [[turn.turn_gap_ms if turn.is_good else None for turn in turns_with_gap(each)] for each in turns]
    low, high = gap_axis_limits([gap for row in rows for gap in row if gap is not None])
    lost = [sum(gap is None for gap in row) for row in rows]

    def draw(canvas: Canvas) -> None:
        ax = canvas.axes(left=30, right=70 if any(lost) else 16, top=26, bottom=46)
        ax.set_xlim(low, high)
        ax.set_ylim(len(rows), 0)
        ax.set_xticks(tick_positions(low, high, 4 if canvas.narrow else 8))
        ax.set_yticks([])
        ax.grid(axis="x", color=css_colour("grid"), lw=1)
        ax.set_xlabel("turn gap, ms", color=css_colour("muted"), labelpad=8)
        for place, (point, row) in enumerate(zip(points, rows, strict=True)):
            role = "accent" if point.on_front else "muted"
            gaps = [gap for gap in row if gap is not None]
            draw_dots(
                ax, [(gap, place + 0.68 + 0.16 * _spread_offset(index)) for index, gap in enumerate(gaps)], role, 4.0
            )
            for at in (point.turn_gap_ms.p50, point.turn_gap_ms.p95):
                if at is not None:
                    ax.plot([at, at], [place + 0.44, place + 0.92], color=css_colour("ink"), lw=2)
            current = ", the profile's own" if point.current else ""
            words = f"{_shorten(point.name, 34 if canvas.narrow else 80)}{current}"
            annotate(ax, str(place + 1), (low, place + 0.4), (-24, 0), "ink", weight="bold")
            annotate(ax, words, (low, place + 0.4), (0, 0), "ink" if point.on_front else "muted")
            if lost[place]:
                annotate(ax, f"{lost[place]} not good", (high, place + 0.86), (64, 0), "over", ha="right")

    description = "Turn gaps of each setting, one dot a turn, with lines at median and p95: " + "; ".join(
        f"{number} {point.name}: median {ms(point.turn_gap_ms.p50)} ms, p95 {ms(point.turn_gap_ms.p95)} ms, "
        f"{n_lost} without a good answer"
        for number, (point, n_lost) in enumerate(zip(points, lost, strict=True), 1)
    )
    height = 72 + (ROW + 14) * len(rows)
    return render_chart("distributions", "Turn gaps of each setting", description, draw, (1040, height), (350, height))


def gap_axis_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return round limits that include the values with some margin."""
    low, high = min(values, default=0.0), max(values, default=AIM_MS)
    step = 50 if high - low < 800 else 250
    first = max(0.0, math.floor((low - 30) / step) * step)
    return first, max(first + step, math.ceil((high + 30) / step) * step)


def tick_positions(low: float, high: float, about: int) -> list[float]:
    """Return about so many round positions between the limits."""
    aimed = (high - low) / about
    size = 10 ** math.floor(math.log10(aimed))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= aimed)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _lines_to_lift(places: list[tuple[float, float]], x: float, y: float, near: float) -> int:
    """Return by how many lines a number is raised so that it does not overlap an earlier one."""
    lift = sum(abs(x - other_x) < near for other_x, _ in places)
    places.append((x, y))
    return lift


def _spread_offset(index: int) -> float:
    """Return a reproducible offset from -1 to 1 that spreads dots over their row."""
    return 2 * ((index * 0.618034) % 1) - 1


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
