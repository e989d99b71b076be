"""The gap under each network beside the clean one: in the report, in the terminal, and what it rests on."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from turngap.model.result import RunRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.network import NetworkProfile
from turngap.report import data, page
from turngap.report.terminal import print_summary
from turngap.report.wording import interval_text
from turngap.verdict import conversation
from turngap.verdict.networks import group_by_network

from tests.harness import report_builders as make

NAMES = ["clean", "lossy"]


def twelve() -> list[TurnRecord]:
    """Six turns on the clean network; the same utterances under `lossy`, 100 ms later, the last of them missed."""
    clean = make.turns(6)
    later = [
        turn.model_copy(
            update={
                "call": 6 + index,
                "network": "lossy",
                "turn_gap_ms": (turn.turn_gap_ms or 0) + 100,
                "perceived_gap_ms": (turn.perceived_gap_ms or 0) + 100,
            }
        )
        for index, turn in enumerate(clean[:5])
    ]
    return [*clean, *later, make.turn(5, outcome=Outcome.MISSED, call=11, network="lossy")]


def record(turns: list[TurnRecord], names: list[str]) -> RunRecord:
    return make.run_record(turns, networks={name: NetworkProfile(name=name) for name in names})


def test_later_is_the_median_over_utterances() -> None:
    """Each utterance against itself on the clean network; one without an answer has no difference, but a place."""
    clean, lossy = group_by_network(twelve(), NAMES)
    assert (clean.name, clean.later_ms, clean.outcomes) == ("clean", None, {Outcome.ANSWERED: 6})
    assert lossy.later_ms is not None
    assert abs(lossy.later_ms - 100) < 1e-9
    assert lossy.outcomes == {Outcome.ANSWERED: 5, Outcome.MISSED: 1}
    assert (lossy.perceived_gap_ms.n, lossy.perceived_gap_ms.max) == (6, None)


def test_later_has_an_interval_where_there_are_pairs_enough() -> None:
    """Five pairs carry none; of more, it holds the median, and is shown in the page and in the terminal."""
    assert group_by_network(twelve(), NAMES)[1].later_between_ms is None
    clean = make.turns(12)
    later = [
        turn.model_copy(
            update={
                "call": 12 + index,
                "network": "lossy",
                "turn_gap_ms": (turn.turn_gap_ms or 0) + 90 + index,
            }
        )
        for index, turn in enumerate(clean)
    ]
    _, lossy = group_by_network([*clean, *later], NAMES)
    assert lossy.later_between_ms is not None
    assert lossy.later_ms is not None
    low, high = lossy.later_between_ms
    assert 90 <= low < lossy.later_ms < high <= 101
    interval = interval_text(lossy.later_between_ms)
    target = io.StringIO()
    print_summary(record([*clean, *later], NAMES), Console(file=target, width=160), [*clean, *later])
    assert f"{lossy.later_ms:.0f} {interval}" in target.getvalue()


def test_one_network_has_no_comparison() -> None:
    """And a run of before had none at all."""
    assert group_by_network(twelve(), ["lossy"]) == group_by_network(twelve(), []) == ()


def test_a_network_is_no_noise() -> None:
    """Words understood are grouped by noise; a network that delays them is none."""
    words = {"word_errors": 0, "words": 4, "wer": 0.0}
    turns = [make.turn(0, **words), make.turn(1, network="lossy", **words)]
    assert set(conversation.conversation_figures(turns).wer) <= {"clean"}


def test_the_report_has_a_row_and_a_chart_of_it(tmp_path: Path) -> None:
    """Outcomes, n, percentiles, how much later; without several networks there is no such section."""
    turns = twelve()
    make.write_run(tmp_path / "two", turns, networks={name: NetworkProfile(name=name) for name in NAMES})
    html = page.render_run_page(data.read_report_data(tmp_path / "two"))
    section = html[html.index("On each network") : html.index("Where the time went")]
    row = section[section.index('<th scope="row">lossy') :]
    assert "5 answered, 1 missed" in row
    assert re.search(r"<td>6<td>.*<td>100<small>", row)
    assert "lossy: median" in section
    make.write_run(tmp_path / "one", turns[:3])
    assert "On each network" not in page.render_run_page(data.read_report_data(tmp_path / "one"))


def test_the_terminal_has_the_same_rows() -> None:
    """As text."""
    console = Console(file=io.StringIO(), width=160)
    turns = twelve()
    print_summary(record(turns, NAMES), console, turns)
    assert isinstance(console.file, io.StringIO)
    assert re.search(r"lossy +6 .* 100 .*5 answered, 1 missed", console.file.getvalue())
