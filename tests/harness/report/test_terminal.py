"""The summary in the terminal: figures, outcomes and the verdict, in plain text where there is no terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table
from turngap.export import markdown
from turngap.model.agent_figures import AgentFigures, AgentGpu
from turngap.model.figures import CostFigures
from turngap.model.result import Check, Verdict
from turngap.model.turn import Outcome
from turngap.progress import PipeConsole
from turngap.report.terminal import print_summary
from turngap.store.folder import StoredRun
from turngap.verdict.summary import compute_figures
from turngap_agent.errors import UsageError

from tests.harness import report_builders as make


def _print_terminal(**changes: object) -> str:
    turns = [make.turn(i, outcome=Outcome.MISSED if i == 2 else Outcome.ANSWERED) for i in range(5)]
    target = io.StringIO()
    print_summary(make.run_record(turns, **changes), Console(file=target, width=100))
    return target.getvalue()


def test_summary_has_the_figures() -> None:
    """Latencies, every stage, outcomes and rates with bounds are there, the verdict last, without escape codes."""
    text = _print_terminal()
    for words in (
        "perceived gap",
        "endpointing",
        "unexplained",
        "5 turns: 4 answered and 1 missed",
        "GPU          none",
    ):
        assert words in text
    assert "at most 45.1 % with 95 % confidence" in text
    assert text.strip().splitlines()[-1].startswith("MEASURED")
    assert "\x1b" not in text


def test_summary_is_no_markup() -> None:
    """Square brackets in notes and reasons are text, not styles; failed checks and reasons are listed."""
    checks = (Check(name="drift", ok=False, text="[red]slower[/red] by 40 ms"),)
    text = _print_terminal(
        verdict=Verdict.INVALID, validity=checks, notes=("[bold]x[/bold]",), reasons=("needs 47 more",)
    )
    assert "[red]slower[/red]" in text
    assert "[bold]x[/bold]" in text
    assert "needs 47 more" in text


def test_nothing_is_printed_twice() -> None:
    """What the sentence or the list of checks has is no line of its own again."""
    first, second = "the run was interrupted", "the run needs 1 more turn"
    checks = (Check(name="harness", ok=False, text=first), Check(name="complete", ok=False, text=second))
    text = _print_terminal(
        verdict=Verdict.INVALID,
        validity=checks,
        reasons=(first, second),
        sentence=f"No result: {first}.",
    )
    assert text.count(first) == 1
    assert text.count(second) == 1


def test_foreign_agent() -> None:
    """An external agent shows its address, and missing stages leave their table out."""
    agent = make.run_record([]).agent.model_copy(update={"rss_mib": None, "cpu_s": None, "loop_lag_p99_ms": None})
    text = _print_terminal(agent=agent, stages={}, wer=None)
    assert "external; no stage data" in text
    assert "exposed" not in text
    assert "no transcript" in text


def test_cost_is_shown_if_there_is_a_price() -> None:
    """With the price, and whose it is; without one there is no line."""
    cost_figures = CostFigures(
        an_hour=1.5,
        currency="USD",
        as_of="2026-05",
        source="assumed",
        simultaneous_calls=2,
        call_minutes=5.0,
        answered_turns=50,
        call_minute=0.0125,
        answered_turn=0.00125,
        call=0.03,
    )
    line = (
        "0.00125 USD an answered turn, 0.03 USD a call, 0.0125 USD a call minute, 2 calls at once (1.5 USD an hour, "
        "2026-05: assumed)"
    )
    assert line in _print_terminal(cost=cost_figures)
    assert "a call minute, 2 calls" in _print_terminal(cost=cost_figures.model_copy(update={"answered_turn": None}))
    assert "cost" not in _print_terminal()


def test_gpu_sharing_is_stated() -> None:
    """With the card's name; no line for an agent that uses none."""
    used = AgentGpu(uuid="GPU-8f", name="NVIDIA H200")
    assert "The agent used NVIDIA H200 (GPU-8f) without MPS." in _print_terminal(
        agent=AgentFigures(url="ws://a", gpu=used)
    )
    assert "MPS" not in _print_terminal()


def test_both_times_are_printed() -> None:
    """The time to the first sound and the time to the first content stand side by side, with and without network."""
    turns = [make.turn(place) for place in range(5)]
    later = [
        turn.model_copy(
            update={
                "substance_from": "spans",
                "substance_gap_ms": (turn.turn_gap_ms or 0.0) + 3000,
                "perceived_substance_ms": (turn.perceived_gap_ms or 0.0) + 3000,
            }
        )
        for turn in turns
    ]
    target = io.StringIO()
    figures = compute_figures(later)
    content = {name: figures[name] for name in ("substance_gap_ms", "perceived_substance_ms")}
    record = make.run_record(later, **content)
    print_summary(record, Console(file=target, width=100))
    lines = target.getvalue().splitlines()
    names = ("turn gap", "substance gap", "perceived gap", "perceived substance")
    rows = {name: [line for line in lines if line.startswith(f"{name} ")] for name in names}
    assert all(rows.values()), rows
    assert len(rows["substance gap"]) == 1


CONTROLS = "\x1b]0;title\x07\x1b[2J\x9b31m\r\b\x7f\u202eend"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_others_say_does_nothing_to_the_terminal(is_terminal: bool) -> None:
    """Agents, transcripts and run folders send control characters: they are signs to look at, in tables too."""
    turns = make.turns(3)
    record = make.run_record(turns, sentence=CONTROLS, notes=(CONTROLS,), reasons=(CONTROLS,))
    target = io.StringIO()
    console = PipeConsole(file=target, width=100, force_terminal=is_terminal)
    print_summary(record, console, turns)
    table = Table(CONTROLS)
    table.add_row(CONTROLS)
    console.print(table)
    console.print(CONTROLS, highlight=False, markup=False)
    text = re.sub(r"\x1b\[[\d;]*m", "", target.getvalue())  # the console's own colours
    assert set(text) & set("\x1b\x07\x9b\r\b\x7f\u202e") == set()
    assert text.count("\N{SYMBOL FOR ESCAPE}]0;title") >= 3
    assert set(markdown.render_markdown(StoredRun(record, tuple(turns), ()))) & set("\x1b\x07\x9b\r\u202e") == set()


def test_an_error_quotes_nothing_that_a_terminal_obeys() -> None:
    """Neither control characters nor a line without end, whatever the message was made of."""
    error = UsageError(f"a.yaml:1: {CONTROLS}{'x' * 5000}\nsecond")
    first, second = str(error).split("\n")
    assert first.startswith("a.yaml:1: \N{SYMBOL FOR ESCAPE}]0;title")
    assert len(first) == 1000
    assert set(first) & set("\x1b\x07\x9b\r\b\x7f\u202e") == set()
    assert second == "second"
