"""The chart of a series: median and p95 of each run in the order of time, its changes, and a link to each report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from turngap.history.series import RunPoint, Series
from turngap.model.plural import plural
from turngap.model.result import Verdict
from turngap.report.svg import Canvas, css_colour, draw_dots, render_chart
from turngap.report.wording import ms, signed_ms

_WIDE, _NARROW = (1040, 300), (350, 260)
_STEPS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


def draw_series(name: str, series: Series, links: Sequence[str | None]) -> Markup:
    """Return the chart. `name` makes its ids unique in the page; `links` has each run's report's address, or None."""
    points = series.points
    low, high, step = _limits(points)

    def draw(canvas: Canvas) -> None:
        ax = canvas.axes(left=48, right=16, top=34, bottom=34)
        ax.set_xlim(-0.5, max(len(points) - 0.5, 0.5))
        ax.set_ylim(low, high)
        ax.set_yticks([low + step * index for index in range(math.floor((high - low) / step) + 1)])
        ax.set_xticks(places := _date_places(len(points), 2 if canvas.narrow else 6))
        for text, place in zip(ax.set_xticklabels([points[at].started[:10] for at in places]), places, strict=True):
            text.set_horizontalalignment("left" if place == 0 else "right" if place == len(points) - 1 else "center")
        ax.grid(axis="y", color=css_colour("grid"), lw=1)
        ax.annotate("ms", (0, 1), (-38, 12), "axes fraction", "offset points", color=css_colour("muted"))
        for change in series.changes:
            _draw_change(ax, series, change)
        for place, point in enumerate(points):
            if point.p95_ms is not None and point.p95_upper_ms is not None:
                ax.plot(
                    [place, place], [point.p95_ms, min(point.p95_upper_ms, high)], color=css_colour("muted"), lw=1.5
                )
        draw_dots(ax, [(x, y) for x, y in _places(points, "p95_ms") if y <= high], "muted", 6)
        medians = _places([point if point.counts else None for point in points], "p50_ms")
        ax.plot([x for x, _ in medians], [y for _, y in medians], color=css_colour("accent"), lw=1)
        draw_dots(ax, medians, "accent", 8)
        doubtful = _places([None if point.counts else point for point in points], "p50_ms")
        draw_dots(ax, doubtful, "grid", 8)
        failed = [point if point.verdict is Verdict.FAIL else None for point in points]
        draw_dots(ax, _places(failed, "p50_ms"), "over", 8)
        for place, (point, address) in enumerate(zip(points, links, strict=True)):
            if address is not None and point.p50_ms is not None:
                canvas.link(ax, (place, point.p50_ms), address, describe_point(point))

    return render_chart(name, f"Turn gaps of {series.title}", _describe(series), draw, _WIDE, _NARROW)


def describe_point(point: RunPoint) -> str:
    """Return a run in a line: its day, verdict, median and p95."""
    text = f"{point.started[:10]}: {point.verdict}, median {ms(point.p50_ms)} ms, p95 {ms(point.p95_ms)} ms"
    return f"{text}, {plural(point.turns, 'turn')}"


def _draw_change(ax: Axes, series: Series, change: int) -> None:
    at = change - 0.5
    low, high = ax.get_ylim()
    ax.plot([at, at], [low, high], color=css_colour("ink"), lw=1, dashes=(3, 3))
    ax.annotate(
        describe_step(series, change), (at, high), (0, 8), "data", "offset points", color=css_colour("ink"), ha="center"
    )


def describe_step(series: Series, change: int) -> str:
    """Return by how much the median of the runs' medians changed there: "+38 ms"."""
    before, after = _level_ms(series.level(change - 1)), _level_ms(series.level(change))
    if before is None or after is None:
        return "unanswered" if after is None else "answered again"
    return f"{signed_ms(after - before)} ms"


def _level_ms(points: Sequence[RunPoint]) -> float | None:
    """Return the median of the medians of the runs that count; None where it falls among unanswered ones."""
    medians = sorted(math.inf if point.p50_ms is None else point.p50_ms for point in points if point.counts)
    middle = medians[len(medians) // 2] if medians else math.inf
    return None if math.isinf(middle) else middle


def _places(points: Sequence[RunPoint | None], figure: str) -> list[tuple[float, float]]:
    values = [(place, getattr(point, figure)) for place, point in enumerate(points) if point is not None]
    return [(float(place), value) for place, value in values if value is not None]


def _limits(points: Sequence[RunPoint]) -> tuple[float, float, float]:
    """Return the axis's lowest and highest value and its step, ms; a few wild bounds do not flatten the rest."""
    figures = [value for point in points for value in (point.p50_ms, point.p95_ms) if value is not None] or [0.0, 500.0]
    wanted = (max(figures) * 1.1 - min(figures) * 0.9) / 4
    step = next((step for step in _STEPS_MS if step >= wanted), _STEPS_MS[-1])
    low = math.floor(min(figures) * 0.9 / step) * step
    return low, max(low + step, math.ceil(max(figures) * 1.05 / step) * step), step


def _date_places(count: int, about: int) -> list[int]:
    """Return the places that get a date: the first, the last, and some between."""
    if count <= about:
        return list(range(count))
    return sorted({round(index * (count - 1) / (about - 1)) for index in range(about)})


def _describe(series: Series) -> str:
    parts = [f"{plural(len(series.points), 'run')} in the order of time"]
    parts += [
        f"{describe_step(series, change)} from {series.points[change].started[:10]} on" for change in series.changes
    ]
    return "; ".join(parts) + ". The table below has the figures."
