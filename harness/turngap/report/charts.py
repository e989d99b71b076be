"""The charts over all turns: each turn as a dot, the turns in the order of the run, the gap on each network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from turngap.model.budget import Metric
from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.report.labels import Scale, better_side, place_clear_of, width_px
from turngap.report.stage_table import ReferenceLine, reference_line
from turngap.report.svg import Canvas, css_colour, draw_dots, render_chart
from turngap.report.wording import ms
from turngap.verdict.networks import NetworkFigures
from turngap.verdict.summary import perceived_gaps, valid_turns


def draw_every_turn(record: RunRecord, turns: Sequence[TurnRecord]) -> Markup:
    """Draw each valid turn as a dot at the gap that the budget limits, in ascending order: the distribution."""
    line = reference_line(record)
    values = line.gaps_ms(valid_turns(turns))
    answered = sorted(value for value in values if value is not None)
    lost = len(values) - len(answered)
    figures = line.figures(record)
    low, high = axis_limits(answered, (line.at_ms, figures.p95_upper))

    def paint(canvas: Canvas) -> None:
        ax = canvas.axes(left=46, right=14 if not lost else 64, top=30, bottom=46)
        ax.set_xlim(low, high)
        ax.set_ylim(0, 1.03)
        scale = Scale(low, high, canvas.width - 46 - (14 if not lost else 64), 1.03, canvas.height - 76)
        _draw_grid(ax, canvas, high - low)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0 %", "25 %", "50 %", "75 %", "95 %"])
        ax.set_xlabel(f"{line.measure}, ms", color=css_colour("muted"), labelpad=8)
        if line.is_budget:
            ax.axvspan(line.at_ms, high, ymax=1 / 1.03, color=css_colour("bad"), alpha=0.06, lw=0)
        _draw_line(ax, line, low, high)
        edge = 500 + record.network_ms
        if line.is_budget and line.metric is Metric.PERCEIVED_GAP and line.at_ms < edge < high:
            ax.plot([edge, edge], [0, 1], color=css_colour("muted"), lw=1, dashes=(1, 3))
            if not canvas.narrow:
                _draw_edge(ax, edge, line, scale)
        step = 1 / len(values) if values else 1.0
        size = 9.0 if len(values) <= 40 else 7.0 if len(values) <= 250 else 5.0
        points = [(value, (rank + 1) * step) for rank, value in enumerate(answered)]
        draw_dots(ax, [point for point in points if not line.is_over(point[0])], "accent", size)
        draw_dots(ax, [point for point in points if line.is_over(point[0])], "bad", size)
        right = high + (high - low) * 26 / (canvas.width - 110)
        draw_dots(ax, [(right, (len(answered) + rank + 1) * step) for rank in range(lost)], "over", size)
        if lost:
            draw_text(ax, right, 1.035, "no good\nanswer", "over", ha="center")
        for share, value in ((0.5, figures.p50), (0.95, figures.p95)):
            if value is not None:
                ax.plot([low, value], [share, share], color=css_colour("muted"), lw=1, alpha=0.55)
                words = f"p{share * 100:.0f}  {ms(value)} ms"
                wide = scale.units(width_px(words, bold=True))
                at = place_clear_of(low + scale.units(4), wide, line.at_ms, scale.units(4))
                draw_text(ax, at, share + 0.015, words, "ink", weight="bold")
        if figures.p95_upper is not None:
            _draw_bound(ax, figures.p95_upper, points, line, scale, canvas.narrow)

    description = (
        f"Empirical distribution of the {line.measure} of {plural(len(values), 'turn')}, one dot a turn, and the line "
        f"{line.label}. Median {ms(figures.p50)} ms, p95 {ms(figures.p95)} ms, 95 % bound on p95 "
        f"{ms(figures.p95_upper)} ms; {lost} without a good answer. The table beside it has the figures."
    )
    return render_chart(
        "every-turn",
        "Every turn" + (" against the budget" if line.is_budget else ""),
        description,
        paint,
        (640, 350),
        (350, 300),
    )


def draw_in_order(record: RunRecord, turns: Sequence[TurnRecord]) -> Markup:
    """Draw the limited gaps in the order of the run: warm-up and invalid turns in grey, unanswered ones at the top."""
    numbered = [(n, turn) for n, turn in enumerate(turns, 1) if turn.expectation.needs_answer]
    line = reference_line(record)
    gaps = [gap for _, turn in numbered if (gap := line.gap_ms(turn)) is not None]
    _, high = axis_limits(gaps, (line.at_ms,))

    def paint(canvas: Canvas) -> None:
        ax = canvas.axes(left=46, right=14, top=26, bottom=46)
        ax.set_xlim(0, len(turns) + 1)
        ax.set_ylim(0, high)
        ax.set_yticks(axis_ticks(0, high, 250 if high < 1400 else 500))
        ax.grid(axis="y", color=css_colour("grid"), lw=1)
        ax.set_xlabel("turn, in the order of the run", color=css_colour("muted"), labelpad=8)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.axhline(line.at_ms, color=css_colour(line.role), lw=1.5 if line.is_budget else 1)
        draw_text(ax, 0, line.at_ms + high * 0.015, line.label, line.role)
        size = 8.0 if len(turns) <= 60 else 5.0
        groups: dict[str, list[tuple[float, float]]] = {"muted": [], "accent": [], "bad": [], "over": []}
        for number, turn in numbered:
            gap = line.gap_ms(turn)
            groups[_role(turn, line)].append((number, high if gap is None else max(gap, 0.0)))
        for role, points in groups.items():
            draw_dots(ax, points, role, size)
        lost = len(numbered) - len(gaps)
        if lost:
            draw_text(ax, len(turns) + 1, high * 1.03, f"no answer: {plural(lost, 'turn')}", "over", ha="right")

    counted = f"{line.measure.capitalize()} of {plural(len(turns), 'turn')}"
    description = f"{counted} in the order of the run, warm-up and invalid ones in grey."
    return render_chart("in-order", "Turns in the order of the run", description, paint, (1040, 240), (350, 240))


def _role(turn: TurnRecord, line: ReferenceLine) -> str:
    if not turn.scored or turn.outcome is Outcome.INVALID:
        return "muted"
    if turn.outcome is not Outcome.ANSWERED:
        return "over"
    return "bad" if line.is_over(line.gap_ms(turn)) else "accent"


def axis_limits(values: Sequence[float], also: Sequence[float | None]) -> tuple[float, float]:
    """Return rounded limits that contain the values and the lines, with room at the right."""
    shown = [*values, *(value for value in also if value is not None)]
    low, high = min(shown), max(shown)
    step = 50 if high - low < 800 else 250
    return max(0.0, math.floor((low - 40) / step) * step), math.ceil((high + (high - low) * 0.06 + 10) / step) * step


def axis_ticks(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of `step` from `low` to `high`."""
    first = math.ceil(low / step) * step
    return [first + index * step for index in range(math.floor((high - first) / step) + 1)]


def rows_of_gaps(
    canvas: Canvas, low: float, high: float, rows: int, line: ReferenceLine, label: str, right: int
) -> Axes:
    """Return axes for `rows` rows over perceived gaps, ms, with a line through all; `right` pixels stay free."""
    ax = canvas.axes(left=14, right=right, top=24, bottom=46)
    ax.set_xlim(low, high)
    ax.set_ylim(0, rows)
    step = (high - low) / (4 if canvas.narrow else 8)
    rounded = next((size for size in (25, 50, 100, 250, 500, 1000, 2500) if size >= step), 5000)
    ax.set_xticks(axis_ticks(low, high, rounded))
    ax.set_yticks([])
    ax.grid(axis="x", color=css_colour("grid"), lw=1)
    ax.set_xlabel(label, color=css_colour("muted"), labelpad=8)
    ax.plot([line.at_ms, line.at_ms], [0, rows], color=css_colour(line.role), lw=1.5)
    return ax


def _draw_grid(ax: Axes, canvas: Canvas, width: float) -> None:
    aimed = width / (4 if canvas.narrow else 8)
    step = next((step for step in (25, 50, 100, 200, 250, 500, 1000, 2000, 2500, 5000) if step >= aimed), 10000)
    ax.set_xticks(axis_ticks(*ax.get_xlim(), step))
    ax.grid(color=css_colour("grid"), lw=1)


def _draw_line(ax: Axes, line: ReferenceLine, low: float, high: float) -> None:
    ax.plot([line.at_ms, line.at_ms], [0, 1.0], color=css_colour(line.role), lw=2 if line.is_budget else 1)
    weight = "bold" if line.is_budget else "normal"
    draw_text(ax, line.at_ms, 1.035, line.label, line.role, ha=_label_side(line, low, high), weight=weight)


def _label_side(line: ReferenceLine, low: float, high: float) -> str:
    near_left = line.at_ms - low < (0.2 if len(line.label) < 20 else 0.4) * (high - low)
    return "left" if near_left else "right"


def _draw_edge(ax: Axes, edge: float, line: ReferenceLine, scale: Scale) -> None:
    """Label the dotted line; one text line higher if the budget's label is in the way."""
    words = "500 ms at the media edge"
    ha = "left" if edge + scale.units(width_px(words)) < scale.right else "right"
    free = _label_side(line, scale.left, scale.right) == "right"
    if ha == "left":
        free = free or edge > line.at_ms + scale.units(width_px(line.label, bold=True) + 8)
    else:
        free = free and edge - line.at_ms > scale.units(width_px(words) + 8)
    draw_text(ax, edge, 1.035, words if free else f"{words}\n", "muted", ha=ha)


def _draw_bound(
    ax: Axes, bound: float, points: Sequence[tuple[float, float]], line: ReferenceLine, scale: Scale, narrow: bool
) -> None:
    ax.plot([bound, bound], [0, 0.95], color=css_colour("ink"), lw=1.5, dashes=(4, 3))
    words = f"p95 is at most\n{ms(bound)} ms" + ("" if narrow else "\n(95 % confidence)")
    at_left = better_side(bound, words, 0.05, scale, points, [line.at_ms]) == "left"
    gap = scale.units(6)
    draw_text(ax, bound + (-gap if at_left else gap), 0.05, words, "ink", ha="right" if at_left else "left")


def draw_text(ax: Axes, x: float, y: float, words: str, role: str, *, ha: str = "left", weight: str = "normal") -> None:
    """Draw text whose lowest line is at y; each line is a text of its own, so that the reader's font aligns it."""
    for number, line in enumerate(reversed(words.split("\n"))):
        if not line:
            continue
        ax.annotate(
            line,
            (x, y),
            (0, 15 * number),
            textcoords="offset points",
            annotation_clip=False,
            color=css_colour(role),
            ha=ha,
            va="bottom",
            weight=weight,
        )


ROW = 46
"""Pixels."""


def draw_networks(groups: Sequence[NetworkFigures], line: ReferenceLine) -> Markup:
    """Draw one row of dots for each network; turns without a good answer are at the right, as later than any other."""
    rows = [perceived_gaps(group.turns) for group in groups]
    low, high = axis_limits([value for row in rows for value in row if value is not None], (line.at_ms,))
    lost = any(value is None for row in rows for value in row)

    def paint(canvas: Canvas) -> None:
        ax = rows_of_gaps(canvas, low, high, len(groups), line, "perceived gap, ms", right=64 if lost else 14)
        right = high + (high - low) * 26 / (canvas.width - 78)
        if lost:
            draw_text(ax, right, len(groups) + 0.05, "no good\nanswer", "over", ha="center")
        for place, (group, row) in enumerate(zip(groups, rows, strict=True)):
            y = len(groups) - 1 - place + 0.28
            gaps = [value for value in row if value is not None]
            draw_dots(ax, [(value, y) for value in gaps if not line.is_over(value)], "accent", 6.0)
            draw_dots(ax, [(value, y) for value in gaps if line.is_over(value)], "bad", 6.0)
            draw_dots(ax, [(right, y)] if len(gaps) < len(row) else [], "over", 6.0)
            for value in (group.perceived_gap_ms.p50, group.perceived_gap_ms.p95):
                if value is not None:
                    ax.plot([value, value], [y - 0.2, y + 0.2], color=css_colour("ink"), lw=1.5)
            draw_text(ax, low, y + 0.24, group.name, "ink", weight="bold")

    described = "; ".join(
        f"{group.name}: median {ms(group.perceived_gap_ms.p50)} ms, p95 {ms(group.perceived_gap_ms.p95)} ms"
        for group in groups
    )
    height = 70 + ROW * len(groups)
    title = "The perceived gap on each network"
    return render_chart("networks", title, f"One dot a turn. {described}.", paint, (640, height), (350, height))
