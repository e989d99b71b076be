"""The section on conversation, in the page and in the terminal: all of it where there are such turns, else none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from turngap.model.budget import Budget, Limit
from turngap.model.landing import Landing
from turngap.model.result import Check, RunRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.report import conversation
from turngap.report.data import read_report_data
from turngap.report.headline import list_outcome_rates
from turngap.report.page import render_run_page
from turngap.report.terminal import print_summary
from turngap.verdict import summary

from tests.harness import report_builders as make

BUDGET = Budget(
    name="talk",
    limits=(Limit(metric="pause_cut_off_rate", at_most=0.02), Limit(metric="barge_in_stop_ms", at_most=250)),
)


def page(folder: Path, turns: list[TurnRecord], **changes: object) -> str:
    return render_run_page(read_report_data(make.write_run(folder, turns, **changes)))


def print_terminal(record: RunRecord) -> str:
    target = io.StringIO()
    print_summary(record, Console(file=target, width=200))
    return target.getvalue()


def test_the_section(tmp_path: Path) -> None:
    """Rates with bounds, reaction times, words by noise with twins, wasted work, and each turn over the agent."""
    text = page(tmp_path / "run", make.conversation_turns())
    for words in (
        '<h2 id="h-talk">Conversation</h2>',
        "cut-offs in pause turns",
        "false stops",
        "answers where silence was expected",
        "barge-in until the agent stops",
        "backchannel until the sentence continues",
        "any noise",
        "babble 5 dB",
        "in 10 pairs",
        "discarded",
        "Each turn in which the caller spoke over the agent",
    ):
        assert words in text, words


def test_it_stays_small(tmp_path: Path) -> None:
    """A page of 600 turns of every kind is under 300 kB."""
    assert len(page(tmp_path / "run", make.conversation_turns(600)).encode()) < 300_000


def test_a_run_without_such_turns_has_no_section(tmp_path: Path) -> None:
    """Ordinary turns show what they always did, and no row for outcomes they cannot have."""
    turns = make.turns(6)
    text = page(tmp_path / "run", turns)
    assert "h-talk" not in text
    assert "hidden p50" not in text
    assert conversation.terminal_lines(make.run_record(turns)) == []
    names = [key for key, *_ in list_outcome_rates(make.run_record(turns), turns)]
    assert not {"held", "intruded", "stopped", "talked_over"} & set(names)
    assert {"answered", "missed", "cut_off", "invalid"} <= set(names)


def test_a_run_of_before_has_no_section() -> None:
    """What was not recorded is not shown."""
    record = make.run_record(make.conversation_turns(), conversation=None, wer_upper=None)
    assert conversation.conversation_section(record, ()) is None
    assert "with 95 % confidence" in print_terminal(record)


def test_limits_are_beside_their_figures(tmp_path: Path) -> None:
    """A bound that is over its limit is marked."""
    turns = make.conversation_turns()
    section = conversation.conversation_section(make.run_record(turns, budget=BUDGET), turns)
    assert section is not None
    assert section.budgeted
    assert [(row.budget, row.over) for row in section.rates if row.budget] == [("2.0 %", True)]
    assert [row.budget for row in section.times if row.budget] == ["250"]
    assert "250" in page(tmp_path / "run", turns, budget=BUDGET)


def test_the_terminal_says_the_same_in_few_words() -> None:
    """One line a figure, each rate with its bound."""
    text = print_terminal(make.run_record(make.conversation_turns()))
    for words in ("false stops", "barge-in until the agent stops", "WER, noisy", "wasted work, pause turns"):
        assert words in text, words
    assert "1 of 10 (at most 39.4 % with 95 % confidence)" in text


def test_hidden_time_is_in_the_stage_table(tmp_path: Path) -> None:
    """Where every turn tells it."""
    turns = [
        turn.model_copy(
            update={"stages": {s: t.model_copy(update={"hidden_ms": 37.0}) for s, t in (turn.stages or {}).items()}}
        )
        for turn in make.turns(4)
    ]
    changes = {"stages": summary.compute_figures(turns)["stages"]}
    assert "hidden p50" in page(tmp_path / "run", turns, **changes)
    assert "hidden p50" in print_terminal(make.run_record(turns, **changes))


@pytest.mark.parametrize("warning", [True, False])
def test_the_terminal_warns_of_a_loaded_machine_without_a_budget_too(warning: bool) -> None:
    """A check that was not made is no warning; one that was made and is bad is, though nothing is judged."""
    check = Check(name="foreign load", ok=None, text="other processes used 40%: stop them", warning=warning)
    assert ("warning" in print_terminal(make.run_record(make.turns(3), validity=(check,)))) is warning


def test_held_turns_are_no_failures(tmp_path: Path) -> None:
    """In the table of turns they are not marked, nor over any budget."""
    held = make.conversation_turns()[5]
    assert held.outcome is Outcome.HELD
    assert "<tr><td>1<td>" in page(tmp_path / "run", [held])


def test_landings_are_beside_the_cut_offs(tmp_path: Path) -> None:
    """In the page a sentence and a row for each cut-off, on the terminal the sentence; unknown words are said."""
    found = Landing(starts=1, heard_ms=312, gave_way_ms=64, gap_ms=455, lost_words=0, answered_whole=True, soft=True)
    unknown = found.model_copy(update={"lost_words": None, "answered_whole": None, "soft": None})
    turns = [*make.turns(6)] + [
        make.turn(index, outcome=Outcome.CUT_OFF).model_copy(update={"landing": landing})
        for index, landing in ((6, found), (7, unknown))
    ]
    sentence = "of 2 landed softly: 1 (not known in 1); heard too soon 312 ms (p95 312)"
    text = page(tmp_path / "run", turns)
    assert f"Cut-offs, {sentence}" in text
    assert "Each cut-off, and how it landed, ms" in text
    assert text.count("not known") >= 3
    assert sentence in print_terminal(make.run_record(turns))
