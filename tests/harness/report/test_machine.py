"""The section on floors, memory, standstills, energy and traces: what it links, what it says where it knows nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turngap.model.health import HealthFigures, LoopBlock, TraceFile, TurnHealth
from turngap.report import machine, page
from turngap.store.folder import RunFolder

from tests.harness import report_builders as builders

TITLE = "Where the time and the memory go"
BLOCK = LoopBlock(start_ms=5.0, length_ms=38.0, ran_ms=37.0, queued_ms=0.0, stack=("dumps (json/<b>.py:231)",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of twelve turns, one of which was held up, with a trace and a measured stage."""
    turns = builders.turns(12)
    turns[6] = turns[6].model_copy(update={"health": TurnHealth(blocks=(BLOCK,), loop_blocked_ms=38.0)})
    health = HealthFigures(turns=12, blocked_turns=1, longest_block_ms=38.0, not_readable={"throttling": "no cpu.stat"})
    trace = TraceFile(file="traces/call-6-turn-0.json", call=6, turn=0, samples=9)
    record = builders.run_record(turns).model_copy(update={"health": health, "traces": (trace,)})
    run = RunFolder.create(tmp_path / "results", "a run", record)
    run.append(turns)
    (run.path / "stages").mkdir()
    floor = {"ms": 40.0, "measured_ms": 80.0, "distance": 2.0}
    document = {"stage": "stt", "profile": record.profile, "engine": "whisper", "floor": floor}
    (run.path / "stages" / "stt.json").write_text(json.dumps(document))
    return run.path


def test_the_page_has_the_section(folder: Path, tmp_path: Path) -> None:
    """Distance, the turn that was held up by number and function, what is hidden, and a link to the trace."""
    out = tmp_path / "reports" / "x.html"
    page.write_run_page(folder, out)
    text = out.read_text()
    section = text[text.index(TITLE) : text.index("Can this run be trusted?")]
    assert "2.0×" in section
    assert "transcription<small>whisper</small>" in section
    assert "turn 7, " in section
    assert "<code>dumps (json/&lt;b&gt;.py:231)</code>" in section
    assert "Not readable here: throttling (no cpu.stat)." in section
    assert 'href="../results/a%20run/traces/call-6-turn-0.json"' in section
    assert "A tick on a bar is its floor" in text


def test_without_floors_the_commands_are_said(folder: Path) -> None:
    """As they are typed, with the run's profile and folder."""
    record = builders.run_record(builders.turns(3))
    section = machine.make_machine_section(record, builders.turns(3), {}, folder, None)
    assert section is not None
    assert section.floors == ()
    assert any(
        command.startswith(f"turngap stage llm --profile {record.profile} --json > ") for command in section.commands
    )
    assert section.commands[-1].startswith("turngap report ")


def test_a_trace_is_named_where_the_page_has_no_place(folder: Path) -> None:
    """A page that is only rendered links nowhere."""
    trace = TraceFile(file="traces/t.json", call=0, turn=0, samples=1)
    record = builders.run_record(builders.turns(1)).model_copy(update={"traces": (trace,)})
    section = machine.make_machine_section(record, builders.turns(1), {}, folder, None)
    assert section is not None
    ((link),) = section.traces
    assert (link.href, link.path) == ("", "traces/t.json")


def test_an_agent_at_a_url_has_no_section(folder: Path) -> None:
    """Nothing of its process is known, and its engines cannot be measured here."""
    record = builders.run_record(builders.turns(1)).model_copy(update={"profile_data": {}})
    assert machine.make_machine_section(record, builders.turns(1), {}, folder, None) is None
