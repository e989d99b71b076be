"""The trace of a measured stage: units, parts by thread, and what the stage's process must have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turngap.processes.health_log import LoopEvent
from turngap.store.stack_samples import StackChange, StackSamples
from turngap.traces.stage_trace import ENGINE, UNITS, PartSlice, UnitSlice, read_parts, render_stage_trace
from turngap.traces.threads import AGENT, HELD_UP
from turngap_agent.errors import AgentError
from turngap_agent.tracing import STAGE_PARTS

MS = 1_000_000
UNIT = UnitSlice("hello", 100 * MS, 180 * MS)
PARTS = (
    PartSlice("prefill", "llm-0", 102 * MS, 140 * MS),
    PartSlice("decode", "llm-0", 140 * MS, 178 * MS),
    PartSlice("hand_over", "MainThread", 178 * MS, 180 * MS),
    PartSlice("prefill", "llm-0", 178 * MS, 178 * MS),
)


def render(stacks: StackSamples | None = None, events: tuple[LoopEvent, ...] = ()) -> list[dict[str, Any]]:
    document = json.loads(render_stage_trace((UNIT,), PARTS, stacks, events, {"stage": "llm"}))
    assert document["metadata"] == {"stage": "llm"}
    listed: list[dict[str, Any]] = document["traceEvents"]
    return listed


def test_units_and_parts_are_slices_from_the_first_units_start() -> None:
    """Each thread's parts have a track of their own; a part without length is left out."""
    slices = [(e["tid"], e["name"], e["ts"], e["dur"]) for e in render() if e["ph"] == "X" and e["pid"] == ENGINE]
    assert slices == [
        (UNITS, "hello", 0.0, 80_000.0),
        (UNITS + 1, "prefill", 2_000.0, 38_000.0),
        (UNITS + 1, "decode", 40_000.0, 38_000.0),
        (UNITS + 2, "hand_over", 78_000.0, 2_000.0),
    ]
    names = [e["args"]["name"] for e in render() if e["ph"] == "M" and e["name"] == "thread_name"]
    assert names == ["units", "parts, llm-0", "parts, MainThread"]


def test_stacks_and_standstills_are_beside_them() -> None:
    """Only those between the first unit's start and the last one's end."""
    stacks = StackSamples(
        (StackChange(90 * MS, 1, 1), StackChange(150 * MS, 1, 0), StackChange(900 * MS, 1, 0)), {1: ("run",)}, {1: "t"}
    )
    waited = LoopEvent("interpreter", 110 * MS, 130 * MS, 0.0, 0.0, ())
    late = LoopEvent("interpreter", 500 * MS, 530 * MS, 0.0, 0.0, ())
    slices = [(e["pid"], e["name"], e["ts"], e["dur"]) for e in render(stacks, (waited, late)) if e["ph"] == "X"]
    assert (AGENT, "run", 0.0, 50_000.0) in slices
    assert [row for row in slices if row[0] == HELD_UP] == [(HELD_UP, "waited for the interpreter", 10_000.0, 20_000.0)]


def test_what_the_process_left_is_read(tmp_path: Path) -> None:
    """Units and parts, in the lines' order."""
    lines = [
        {"unit": "hello", "start_ns": 100 * MS, "end_ns": 180 * MS},
        {"part": "prefill", "thread": "llm-0", "start_ns": 102 * MS, "end_ns": 140 * MS},
    ]
    (tmp_path / STAGE_PARTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_parts(tmp_path) == ((UNIT,), (PARTS[0],))


@pytest.mark.parametrize("text", [None, "", "{", '{"part": "mel"}', '{"unit": "x", "start_ns": "soon", "end_ns": 1}'])
def test_a_process_that_left_no_trace_is_an_error(tmp_path: Path, text: str | None) -> None:
    """In one line."""
    if text is not None:
        (tmp_path / STAGE_PARTS).write_text(text)
    with pytest.raises(AgentError, match=r"left no trace|without units"):
        read_parts(tmp_path)
