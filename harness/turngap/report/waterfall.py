"""The waterfall of one turn: what ran between the caller's last sample and the agent's first, and what delayed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from turngap_agent.tracing import Activity, Stage

from turngap.model.turn import Bar, PathStep, TurnRecord
from turngap.report.labels import LINE_PX, place_clear_of, width_px
from turngap.report.svg import Canvas, css_colour, render_chart
from turngap.report.wording import ACTIVITY, ROLE, STAGE, ms

CALLER_STOPS, AGENT_IS_HEARD = "caller stops", "agent is heard"
RIGHT_PX = 58
"""Free space to the right of the axes."""
DIFFERS_MS = 5.0
"""Closer than this, first sound and first content are one moment."""
MOST_FILLER = 2.0
"""Filler is drawn up to so many times the time to the first sound; what lasts longer is cut."""
GAP_PX = 8
"""The least distance between the two labels."""


def place_agent_label(gap_px: float, room_px: float) -> tuple[str, int]:
    """Return alignment and text line (0 or 1) of "agent is heard" at `gap_px`, apart from "caller stops".

    Both are above the waterfall, "caller stops" at 0 on line 0; `room_px` is the space from 0 to the right edge.
    """
    stops, heard = width_px(CALLER_STOPS), width_px(AGENT_IS_HEARD)
    if gap_px >= stops + GAP_PX + heard:
        return "right", 0
    if gap_px >= stops + GAP_PX and gap_px + heard <= room_px:
        return "left", 0
    return ("left", 1) if gap_px + heard <= room_px else ("right", 1)


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One row: when the activity ran, and which pieces of it lie on the critical path."""

    name: str
    role: str
    start_ms: float
    end_ms: float
    pieces: tuple[tuple[float, float], ...]
    activity: Activity | None = None
    """None for the time in no activity."""

    @property
    def duration_ms(self) -> float:
        """How long it ran."""
        return self.end_ms - self.start_ms

    @property
    def exposed_ms(self) -> float:
        """How much of it the caller waited for."""
        return sum(end - start for start, end in self.pieces)


def waterfall_rows(turn: TurnRecord) -> tuple[ActivityRow, ...]:
    """Return the rows of a turn in path order, unexplained last; endpointing is one row if it decided once."""
    bars = list(turn.bars)
    ends = {bar.activity: bar for bar in bars}
    provisional, confirmed = ends.get(Activity.PROVISIONAL_END), ends.get(Activity.CONFIRMED_END)
    once = provisional is None or confirmed is None or abs(provisional.end_ms - confirmed.end_ms) < 0.01
    if once and provisional and confirmed:
        bars.remove(confirmed)
    rows, taken = [], set[int]()
    for bar in bars:
        name = (
            STAGE[Stage.ENDPOINTING][0] if once and bar.activity.stage is Stage.ENDPOINTING else ACTIVITY[bar.activity]
        )
        mine = [i for i, step in enumerate(turn.path) if i not in taken and _is_within(step, bar)]
        taken.update(mine)
        pieces = tuple((turn.path[i].start_ms, turn.path[i].end_ms) for i in mine)
        rows.append(ActivityRow(name, ROLE[bar.activity.stage], bar.start_ms, bar.end_ms, pieces, bar.activity))
    holes = tuple((step.start_ms, step.end_ms) for step in turn.path if step.stage is Stage.UNEXPLAINED)
    if holes:
        rows.append(ActivityRow("unexplained", "unexplained", holes[0][0], holes[-1][1], holes))
    return tuple(rows)


def waterfall_figures(
    typical: TurnRecord | None, worst: TurnRecord | None, distances: Mapping[Activity, float]
) -> list[dict[str, Any]]:
    """Return what the report shows of a representative turn and the worst one, drawn to one scale."""
    pairs = [("representative", "A representative turn", typical), ("worst", "The worst turn heard", worst)]
    if typical is not None and typical is worst:
        pairs = [("representative", "The one turn heard" if typical.path else "A representative turn", typical)]
    shown = [(key, title, turn) for key, title, turn in pairs if turn is not None and turn.path]
    end = max((bar.end_ms for _, _, turn in shown for bar in turn.bars), default=0.0)
    end = max([end, *(turn.turn_gap_ms or 0.0 for _, _, turn in shown)])
    end = max([end, *(min(turn.substance_gap_ms or 0.0, MOST_FILLER * end) for _, _, turn in shown)])
    return [
        {
            "key": key,
            "title": title,
            "turn": turn,
            "chart": draw_waterfall(f"waterfall-{key}", turn, end, distances),
            "tracks": waterfall_rows(turn),
        }
        for key, title, turn in shown
    ]


def draw_waterfall(
    name: str, turn: TurnRecord, end_ms: float, distances: Mapping[Activity, float] = MappingProxyType({})
) -> Markup:
    """Draw the waterfall over 0 to `end_ms`; use the same `end_ms` for waterfalls that are compared.

    `distances`: how many times longer than its floor an activity takes; the floor is a tick on its bar.
    Where the first sound was no content, the filler up to the content is a pale box with an outline.
    """
    rows = waterfall_rows(turn)
    gap = turn.turn_gap_ms or 0.0

    def draw(canvas: Canvas) -> None:
        left = 102 if canvas.narrow else 112
        ax = canvas.axes(left=left, right=RIGHT_PX, top=40, bottom=42)
        per_ms = (canvas.width - left - RIGHT_PX) / end_ms
        ax.set_xlim(0, end_ms)
        ax.set_ylim(len(rows) + 0.6, -0.75)
        ax.set_yticks([0, *(index + 1 for index in range(len(rows)))], ["turn gap", *(row.name for row in rows)])
        for label in ax.get_yticklabels():
            label.set_color(css_colour("ink"))
        ax.get_yticklabels()[0].set_fontweight("bold")
        step = next(
            s for s in (50, 100, 200, 250, 500, 1000, 2500, 5000, 1e5) if end_ms / s <= (4 if canvas.narrow else 6)
        )
        ax.set_xticks([step * index for index in range(int(end_ms / step) + 1)])
        ax.grid(axis="x", color=css_colour("grid"), lw=1)
        ax.set_xlabel("ms after the caller's last sample", color=css_colour("muted"), labelpad=6)
        for piece in turn.path:
            _draw_bar(
                ax, 0, piece.start_ms, piece.end_ms, ROLE[piece.stage], 0.74, outlined=piece.stage is Stage.UNEXPLAINED
            )
        for place, row in enumerate(rows, 1):
            if row.role != "unexplained":
                _draw_bar(ax, place, row.start_ms, row.end_ms, row.role, 0.56, pale=True)
            for start, end in row.pieces:
                _draw_bar(ax, place, start, end, row.role, 0.56, outlined=row.role == "unexplained")
            floor_ms = _floor_ms(row, distances)
            if floor_ms is not None:
                tick = [row.start_ms + floor_ms] * 2
                ax.plot(tick, [place - 0.4, place + 0.4], color=css_colour("ink"), lw=2, solid_capstyle="butt")
            last = max([row.end_ms, *(end for _, end in row.pieces)])
            text = f"{ms(row.exposed_ms)}" if row.pieces else f"({ms(row.duration_ms)})"
            at = place_clear_of(last, (width_px(text) + 8) / per_ms, gap, 0.0)
            _draw_after(ax, at, place, text, "ink" if row.pieces else "muted")
        content = turn.substance_gap_ms
        if content is not None and content - gap > DIFFERS_MS:
            _draw_bar(ax, 0, gap, min(content, end_ms), "muted", 0.74, pale=True, outlined=True)
            _draw_after(ax, gap, 0, f"{ms(gap)} → {ms(content)} ms", "ink", weight="bold")
            if content <= end_ms:
                ax.plot([content, content], [-0.6, 0.6], color=css_colour("ink"), lw=1.2, ls=(0, (3, 2)))
        else:
            _draw_after(ax, gap, 0, f"{ms(gap)} ms", "ink", weight="bold")
        for at in (0.0, gap):
            ax.plot([at, at], [-0.6, len(rows) + 0.5], color=css_colour("ink"), lw=1.2, clip_on=False)
        ax.text(0, -0.7, CALLER_STOPS, va="bottom", fontsize=12, color=css_colour("muted"))
        ha, line = place_agent_label(gap * per_ms, end_ms * per_ms + RIGHT_PX)
        ax.annotate(
            AGENT_IS_HEARD,
            (gap, -0.7),
            (0, LINE_PX * line),
            textcoords="offset points",
            annotation_clip=False,
            va="bottom",
            ha=ha,
            color=css_colour("muted"),
        )

    waits = ", ".join(f"{row.name} {ms(row.exposed_ms)} ms" for row in rows if row.pieces)
    title = f"Where the {ms(gap)} ms of this turn went"
    size = 82 + 23 * (len(rows) + 1)
    content = turn.substance_gap_ms
    filler = "" if content is None or content - gap <= DIFFERS_MS else f" First content at {ms(content)} ms."
    at_floor = [(row.name, _floor_ms(row, distances)) for row in rows]
    shortest = ", ".join(f"{name} {ms(floor_ms)} ms" for name, floor_ms in at_floor if floor_ms is not None)
    at_floors = f" At their floors: {shortest}." if shortest else ""
    return render_chart(
        name, title, f"Time on the critical path: {waits}.{filler}{at_floors}", draw, (530, size), (350, size)
    )


def _floor_ms(row: ActivityRow, distances: Mapping[Activity, float]) -> float | None:
    """Return how long an activity would have taken at its floor; None if that is not known."""
    distance = distances.get(row.activity) if row.activity is not None else None
    return None if distance is None else row.duration_ms / distance


def _draw_bar(
    ax: Axes,
    place: float,
    start: float,
    end: float,
    role: str,
    height: float,
    *,
    pale: bool = False,
    outlined: bool = False,
) -> None:
    edge = css_colour("ink") if outlined else "none"
    corner, length = (start, place - height / 2), max(end - start, 0.0)
    alpha = 0.22 if pale else 1
    ax.add_patch(
        Rectangle(corner, length, height, facecolor=css_colour(role), edgecolor=edge, lw=int(outlined), alpha=alpha)
    )


def _draw_after(ax: Axes, x: float, y: float, words: str, role: str, *, weight: str = "normal") -> None:
    """Draw text five pixels to the right of a bar's end."""
    ax.annotate(
        words,
        (x, y),
        (5, 0),
        textcoords="offset points",
        annotation_clip=False,
        va="center_baseline",
        color=css_colour(role),
        weight=weight,
    )


def _is_within(step: PathStep, bar: Bar) -> bool:
    return (
        step.stage is bar.activity.stage and step.start_ms >= bar.start_ms - 0.01 and step.end_ms <= bar.end_ms + 0.01
    )
