"""The chart of the gap under each simulated network: a row of dots a network, its median and p95 marked."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from turngap.report.charts import limits, rows_of_gaps, say
from turngap.report.stage_table import Mark
from turngap.report.svg import Canvas, chart, colour, dots
from turngap.report.wording import ms
from turngap.verdict.exemplars import gaps
from turngap.verdict.networks import UnderNetwork

ROW = 46
"""Pixels."""


def draw(groups: Sequence[UnderNetwork], budget: Mark) -> Markup:
    """One row a network; turns without a good answer stand at the right, as later than any other."""
    rows = [gaps(group.turns) for group in groups]
    low, high = limits([value for row in rows for value in row if value is not None], (budget.at_ms,))
    lost = any(value is None for row in rows for value in row)

    def paint(canvas: Canvas) -> None:
        ax = rows_of_gaps(canvas, low, high, len(groups), budget.at_ms, "perceived gap, ms", right=64 if lost else 14)
        right = high + (high - low) * 26 / (canvas.width - 78)
        if lost:
            say(ax, right, len(groups) + 0.05, "no good\nanswer", "over", ha="center")
        for place, (group, row) in enumerate(zip(groups, rows, strict=True)):
            y = len(groups) - 1 - place + 0.28
            heard = [value for value in row if value is not None]
            dots(ax, [(value, y) for value in heard if value <= budget.at_ms], "accent", 6.0)
            dots(ax, [(value, y) for value in heard if value > budget.at_ms], "bad", 6.0)
            dots(ax, [(right, y)] if len(heard) < len(row) else [], "over", 6.0)
            for value in (group.perceived_gap_ms.p50, group.perceived_gap_ms.p95):
                if value is not None:
                    ax.plot([value, value], [y - 0.2, y + 0.2], color=colour("ink"), lw=1.5)
            say(ax, low, y + 0.24, group.name, "ink", weight="bold")

    described = "; ".join(
        f"{group.name}: median {ms(group.perceived_gap_ms.p50)} ms, p95 {ms(group.perceived_gap_ms.p95)} ms"
        for group in groups
    )
    height = 70 + ROW * len(groups)
    title = "The perceived gap under each network"
    return chart("networks", title, f"One dot a turn. {described}.", paint, (640, height), (350, height))
