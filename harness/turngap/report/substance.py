"""Filler and substance: the rows and the chart of the report's section on when content was heard. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.report.charts import axis_ticks
from turngap.report.svg import Canvas, css_colour, draw_dots, render_chart
from turngap.report.waterfall import DIFFERS_MS
from turngap.report.wording import ms
from turngap.scenario.content import split_words
from turngap.verdict.summary import valid_turns

MOST_FILLERS = 12


@dataclass(frozen=True, slots=True)
class FillerRow:
    """One opening as it was heard in this run."""

    text: str
    turns: int
    later_ms: float | None
    """Median time from the first sound to the content; None if no content followed in any of them."""
    unanswered: int
    """Turns in which no content followed."""


@dataclass(frozen=True, slots=True)
class Section:
    """The section on filler and substance."""

    fillers: tuple[FillerRow, ...]
    known: int
    """Turns of which it is known when content was heard."""
    unknown: int
    """Answered turns of which it is not."""
    why_unknown: str
    transcribed: int
    notes: int
    """Turns whose content counts from its clause's start although the clause began with an opening."""
    openings: tuple[str, ...]
    chart: Markup | None


def substance_section(record: RunRecord, turns: Sequence[TurnRecord]) -> Section | None:
    """Return the section; None for a run that did not look for content."""
    heard = [turn for turn in valid_turns(turns) if turn.expectation.needs_answer and turn.turn_gap_ms is not None]
    if not heard or not any(turn.substance_from or turn.substance_note for turn in heard):
        return None
    known = [turn for turn in heard if turn.substance_from]
    unknown = [turn for turn in heard if not turn.substance_from]
    filled = [turn for turn in known if turn.contentless]
    return Section(
        fillers=_filler_rows(filled),
        known=len(known),
        unknown=len(unknown),
        why_unknown=next((turn.substance_note for turn in unknown if turn.substance_note), ""),
        transcribed=sum(turn.substance_from == "transcript" for turn in known),
        notes=sum(turn.substance_note.startswith("no pause follows") for turn in known),
        openings=record.contentless,
        chart=draw_substance(known) if filled else None,
    )


def _filler_rows(filled: Sequence[TurnRecord]) -> tuple[FillerRow, ...]:
    groups: defaultdict[str, list[TurnRecord]] = defaultdict(list)
    for turn in filled:
        groups[" ".join(word.text.strip(",.;:!?…").lower() for word in split_words(turn.contentless))].append(turn)
    rows = []
    for text, turns in sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_FILLERS]:
        later = [_later_ms(turn) for turn in turns if turn.substance_gap_ms is not None]
        rows.append(FillerRow(text, len(turns), median(later) if later else None, len(turns) - len(later)))
    return tuple(rows)


def _later_ms(turn: TurnRecord) -> float:
    return (turn.substance_gap_ms or 0.0) - (turn.turn_gap_ms or 0.0)


def draw_substance(known: Sequence[TurnRecord]) -> Markup:
    """Draw, for each turn by its time to content, the filler as a line from the first sound to the first content."""
    turns = sorted(known, key=lambda turn: (turn.substance_gap_ms is None, turn.substance_gap_ms or turn.turn_gap_ms))
    times = [time for turn in turns for time in (turn.turn_gap_ms, turn.substance_gap_ms) if time is not None]
    high = max(times) * 1.05 + 20
    step = next(step for step in (100, 250, 500, 1000, 2500, 5000, 1e5) if high / step <= 7)
    missing = sum(turn.substance_gap_ms is None for turn in turns)

    def paint(canvas: Canvas) -> None:
        ax = canvas.axes(left=14, right=24, top=24, bottom=46)
        ax.set_xlim(0, high)
        ax.set_ylim(len(turns) + 0.5, -0.5)
        ax.set_yticks([])
        ax.set_xticks(axis_ticks(0, high, step))
        ax.grid(axis="x", color=css_colour("grid"), lw=1)
        ax.set_xlabel("ms after the caller's last sample", color=css_colour("muted"), labelpad=8)
        width = 5.0 if len(turns) <= 40 else 2.0
        for place, turn in enumerate(turns):
            start, end = turn.turn_gap_ms or 0.0, turn.substance_gap_ms if turn.substance_gap_ms is not None else high
            if end - start > DIFFERS_MS:
                role = "bad" if turn.substance_gap_ms is not None else "over"
                ax.plot([start, end], [place, place], color=css_colour(role), lw=width, alpha=0.35)
        size = 8.0 if len(turns) <= 60 else 4.0
        draw_dots(ax, [(turn.turn_gap_ms or 0.0, place) for place, turn in enumerate(turns)], "muted", size * 0.7)
        content = [
            (turn.substance_gap_ms, place) for place, turn in enumerate(turns) if turn.substance_gap_ms is not None
        ]
        draw_dots(ax, content, "accent", size)

    delays = [_later_ms(turn) for turn in turns if turn.substance_gap_ms is not None and turn.contentless]
    later = f"where filler came first, content came {ms(median(delays))} ms later (median)" if delays else ""
    lost = f"{plural(missing, 'turn')} had no content at all" if missing else ""
    text = "; ".join(part for part in (later, lost) if part)
    description = f"Each turn's first sound (grey), first content (blue) and the filler between them: {text}."
    height = min(420, 96 + 9 * len(turns))
    return render_chart("substance", "Filler and substance", description, paint, (1040, height), (350, height))
