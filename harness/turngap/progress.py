"""The console of a command, and on it the progress of a run: a bar in a terminal, plain lines elsewhere.

It is redrawn only when a turn has been scored: a thread that redraws by itself would make the callers late.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Self

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from turngap_agent import command_line
from turngap_agent.errors import show_controls

from turngap.model.plural import plural
from turngap.model.turn import TurnRecord

LOG_WIDTH = 160
"""Columns of what is written to a pipe or a file."""


class PipeConsole(Console):
    """A console whose reader may leave early (`| head`): the rest is discarded, and the command goes on.

    Where it is no terminal, it is as wide as its tables, so that a log loses no figure. What agents, transcripts and
    run folders say is shown, never obeyed: a control character in it is a visible sign.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = LOG_WIDTH
        self.push_render_hook(_ShowsControls())

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        self.quiet = True
        command_line.discard(self.file)


class _ShowsControls(RenderHook):
    """Makes the control characters of printed text visible; those of styles and of progress bars are the console's."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(one) for one in renderables]


class _Shown:
    """Something printed, its control characters visible."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(show_controls(segment.text), segment.style)


class ConsoleProgress:
    """Shows the progress of a run on a console; a context manager."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._turns = self._done = 0
        self.calls_started = False
        """True once calls are placed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show_message(self, text: str) -> None:
        """Show one line."""
        self._line(f"{self._title}: {text}")

    def show_start(self, turns: int) -> None:
        """Start to count: calls begin, with that many turns to score."""
        self._turns, self._done, self.calls_started = turns, 0, True
        if self._bar is not None:  # of an earlier load: a console has one at a time
            self._bar.stop()
        if self._console.is_terminal:
            columns = (TextColumn(self._title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self._console, auto_refresh=False)
            self._task = self._bar.add_task("warming up", total=turns)
            self._bar.start()
        else:
            self.show_message(f"{plural(turns, 'turn')} to be scored")

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        """Show the outcome and gap of a turn, and its setting in a sweep."""
        if turn.warm_up or turn.lead_in:
            return
        self._done += 1
        text = f"{setting}: {describe_turn(turn)}" if setting else describe_turn(turn)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, description=text, refresh=True)
        else:
            self.show_message(f"{self._done}/{self._turns} {text}")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def describe_turn(turn: TurnRecord) -> str:
    """Return a turn's name, outcome, gap and detail in one line."""
    gap = "" if turn.turn_gap_ms is None else f" {turn.turn_gap_ms:.0f} ms"
    detail = f" ({turn.detail})" if turn.detail else ""
    return f"{turn.utterance_id}: {turn.outcome}{gap}{detail}"
