"""The capacity chart: p95 with its bound against the load, for one capacity run or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes

from turngap.capacity.folder import CapacityRecord
from turngap.capacity.points import PointRecord
from turngap.report.svg import Canvas, annotate, css_colour, draw_dots, render_chart
from turngap.report.wording import ms

ROLES = ("accent", "llm", "tts", "stt", "endpointing", "conversion")
"""Colours of capacity runs side by side, in their order; then they come again."""
ABOVE = 1.15
"""The chart ends so much above the largest value."""


@dataclass(frozen=True, slots=True)
class Series:
    """One capacity run in a chart."""

    name: str
    record: CapacityRecord

    @property
    def points(self) -> list[PointRecord]:
        """Its points from the lowest load to the highest; of one that was tried again, the last."""
        by_load = {point.load: point for point in self.record.points}
        return [by_load[load] for load in sorted(by_load)]


def draw_capacity(name: str, series: Sequence[Series]) -> Markup:
    """Draw p95 of the gap, with a line up to its 95 % bound, against the load; median as a thin line.

    The budget is a line across, the knee a ring, a saturated load a square, an invalid point grey. A load at which more
    turns than p95 leaves out had no good answer has words instead of a dot.
    """
    drawn = [(each, [point for point in each.points if point.gap_ms.p95 is not None]) for each in series]
    loads = [point.load for each in series for point in each.points]
    values = [value for _, points in drawn for point in points for value in _values(point)]
    budgets = sorted({each.record.budget_ms for each in series if each.record.budget_ms is not None})
    top = max([*values, *budgets, 100.0]) * ABOVE
    right = max([*loads, 1.0]) * 1.08
    by_rate = any(each.record.by_rate for each in series)

    def draw(canvas: Canvas) -> None:
        ax = canvas.axes(left=56, right=18, top=30, bottom=48)
        ax.set_xlim(0, right)
        ax.set_ylim(0, top)
        ax.grid(axis="y", color=css_colour("grid"), lw=1)
        ax.set_xlabel("calls a second" if by_rate else "calls at once", color=css_colour("muted"), labelpad=8)
        shown = sorted(set(loads))
        ax.set_xticks(shown if len(shown) <= (6 if canvas.narrow else 12) else shown[:: len(shown) // 6])
        ax.xaxis.set_major_formatter(lambda at, _: f"{at:g}")
        for budget in budgets:
            ax.plot([0, right], [budget, budget], color=css_colour("budget"), lw=1.5, dashes=(4, 3))
            annotate(ax, f"budget {budget:g} ms", (right, budget), (-2, 3), "budget", ha="right")
        for place, (each, points) in enumerate(drawn):
            _draw_series(ax, each, points, ROLES[place % len(ROLES)])
        for point in (point for each in series for point in each.points if point.gap_ms.p95 is None):
            role = "over" if point.is_valid else "muted"
            annotate(ax, "no p95", (point.load, top), (0, -16), role, ha="center")
        annotate(ax, f"{_metric(series)}, ms: p95, its bound, median", (0, top), (-44, 12), "muted")

    return render_chart(name, "Capacity", describe_series(series), draw, (1040, 380), (350, 320))


def describe_series(series: Sequence[Series]) -> str:
    """Return the chart in words."""
    texts = []
    for each in series:
        points = "; ".join(
            f"{point.name}: p95 {ms(point.gap_ms.p95)} ms, at most {ms(point.gap_ms.p95_upper)}"
            + ("" if point.is_valid else ", invalid")
            + (", saturated" if point.saturated else "")
            for point in each.points
        )
        texts.append(f"{each.name}: {points}" if len(series) > 1 else points)
    return f"{_metric(series)} from the planned time against the load. {'. '.join(texts)}. The table has all figures."


def _draw_series(ax: Axes, each: Series, points: Sequence[PointRecord], role: str) -> None:
    valid = [point for point in points if point.is_valid]
    loads = [point.load for point in valid]
    ax.plot(loads, [point.gap_ms.p50 or 0.0 for point in valid], color=css_colour(role), lw=1, dashes=(1, 2))
    ax.plot(loads, [point.gap_ms.p95 or 0.0 for point in valid], color=css_colour(role), lw=2)
    for point in points:
        p95, colour = point.gap_ms.p95 or 0.0, role if point.is_valid else "muted"
        if point.gap_ms.p95_upper is not None:
            ax.plot([point.load] * 2, [p95, point.gap_ms.p95_upper], color=css_colour(colour), lw=3, alpha=0.5)
        knee = each.record.knee
        if knee is not None and knee.is_found and knee.load == point.load:
            draw_dots(ax, [(point.load, p95)], "budget", 19)
            draw_dots(ax, [(point.load, p95)], "paper", 14)
            annotate(ax, "knee", (point.load, p95), (0, 12), "ink", ha="center")
        draw_dots(ax, [(point.load, p95)], colour, 9)
        if point.saturated:
            annotate(ax, "■ saturated", (point.load, p95), (0, -18), "over", ha="center")
        elif not point.is_valid:
            annotate(ax, "invalid", (point.load, p95), (0, -18), "muted", ha="center")


def _values(point: PointRecord) -> list[float]:
    figures = point.gap_ms
    return [value for value in (figures.p50, figures.p95, figures.p95_upper) if value is not None]


def _metric(series: Sequence[Series]) -> str:
    metrics = {each.record.metric for each in series}
    return "perceived gap" if metrics == {"perceived_gap_ms"} else "turn gap"
