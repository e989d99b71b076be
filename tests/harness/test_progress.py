"""The progress display during a run: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from turngap.model.turn import Outcome
from turngap.progress import ConsoleProgress

from tests.harness import report_builders as builders


def show_progress(*, terminal: bool) -> str:
    out = io.StringIO()
    with ConsoleProgress(Console(file=out, force_terminal=terminal, width=200), "small") as display:
        display.show_message("agent ready")
        assert not display.calls_started
        display.show_start(2)
        assert display.calls_started
        display.show_turn(builders.turn(0, warm_up=True, scored=False))
        display.show_turn(builders.turn(1, utterance_id="one", turn_gap_ms=412.3))
        display.show_turn(
            builders.turn(2, utterance_id="two", outcome=Outcome.MISSED, detail="no [bold] answer"), "a=1"
        )
    return out.getvalue()


def test_plain_lines_where_there_is_no_terminal() -> None:
    """One line a scored turn with place, setting, outcome, gap and reason; warm-up and escape codes are not shown."""
    lines = show_progress(terminal=False).splitlines()
    assert lines[:3] == ["small: agent ready", "small: 2 turns to be scored", "small: 1/2 one: answered 412 ms"]
    assert lines[3].startswith("small: 2/2 a=1: two: missed")
    assert "(no [bold] answer)" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_a_bar_in_a_terminal() -> None:
    """The count of settled turns is in the bar."""
    text = show_progress(terminal=True)
    assert "2/2" in text
    assert "\x1b" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_several_loads_are_counted_each_from_the_start(*, terminal: bool) -> None:
    """A console has one bar at a time; the second load's turns do not go on from the first's."""
    out = io.StringIO()
    with ConsoleProgress(Console(file=out, force_terminal=terminal, width=200), "loads") as display:
        for _ in range(2):
            display.show_start(2)
            display.show_turn(builders.turn(0))
    assert out.getvalue().count("1/2") >= 2
    assert "2/2" not in out.getvalue()
