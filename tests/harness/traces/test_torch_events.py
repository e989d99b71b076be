"""What torch's profiler saw, in a stage's trace: on the stage's clock, with numbers of its own, launches, kernels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from turngap.traces.stage_trace import UnitSlice, render_stage_trace
from turngap.traces.torch_events import FIRST_PROCESS, count_kernels, place_torch_events
from turngap_agent.errors import AgentError
from turngap_agent.tracing import TORCH_CLOCK

BASE_NS = 50_000_000_000


def name(process: Any, kind: str, **arguments: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": arguments.pop("thread", 0), "args": arguments}


def make_slice(title: str, at_us: float, process: Any, thread: Any, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "name": title, "ts": at_us, "dur": 5.0, "pid": process, "tid": thread} | more


EVENTS: list[dict[str, Any]] = [
    name(77, "process_name", name="python"),
    name(77, "process_labels", labels="CPU"),
    name(0, "process_labels", labels="GPU 0"),
    name(77, "thread_name", thread="78", name="thread 78 (python)"),
    make_slice(f"{TORCH_CLOCK}{BASE_NS + 1_000_000}", 900_250.0, 77, "78"),
    make_slice("aten::mm", 900_350.0, 77, "78", cat="cpu_op"),
    {"ph": "s", "id": 4, "cat": "ac2g", "name": "ac2g", "ts": 900_352.0, "pid": 77, "tid": "78"},
    {"ph": "f", "id": 4, "cat": "ac2g", "name": "ac2g", "ts": 900_360.0, "pid": 0, "tid": 7, "bp": "e"},
    make_slice("gemm", 900_360.0, 0, 7, cat="kernel"),
    {"ph": "i", "s": "g", "name": "Iteration Start", "ts": 900_200.0, "pid": "Traces", "tid": "Trace"},
    make_slice(f"{TORCH_CLOCK}{BASE_NS + 2_000_000}", 901_258.0, 77, "78"),
]
TEXT = json.dumps({"schemaVersion": 1, "traceEvents": EVENTS})


def test_events_are_on_the_stages_clock() -> None:
    """By the mark that was recorded with the least delay: of these, 1 ms after the base was 900,250 µs, not 900,258."""
    placed = {event["name"]: event for event in place_torch_events(TEXT, BASE_NS) if event["ph"] == "X"}
    assert set(placed) == {"aten::mm", "gemm"}
    assert (placed["aten::mm"]["ts"], placed["gemm"]["ts"]) == (1_100.0, 1_110.0)
    assert placed["gemm"]["dur"] == 5.0


def test_processes_and_threads_have_numbers_and_the_profilers_names() -> None:
    """Its own could be those of another track; remarks such as "Iteration Start" are left out."""
    placed = place_torch_events(TEXT, BASE_NS)
    assert {event["pid"] for event in placed} == {FIRST_PROCESS, FIRST_PROCESS + 1}
    assert all(isinstance(event["tid"], int) for event in placed)
    named = [event["args"]["name"] for event in placed if event["ph"] == "M"]
    assert named == ["torch's profiler: CPU", "torch's profiler: GPU 0", "thread 78 (python)", "thread 7"]


def test_an_arrow_leads_from_the_launch_to_its_kernel() -> None:
    """Start and end keep their number, in the places of operation and kernel."""
    placed = place_torch_events(TEXT, BASE_NS)
    start, end = (next(event for event in placed if event["ph"] == kind) for kind in "sf")
    operation, kernel = (next(e for e in placed if e.get("cat") == category) for category in ("cpu_op", "kernel"))
    assert (start["id"], end["id"]) == (4, 4)
    assert (start["pid"], start["tid"]) == (operation["pid"], operation["tid"])
    assert (end["pid"], end["tid"]) == (kernel["pid"], kernel["tid"])
    assert count_kernels(placed) == 1


def test_the_stages_trace_has_them_and_says_how_many() -> None:
    """0 kernels on a GPU: the profiler does not see them on that machine."""
    unit = UnitSlice("hello", BASE_NS, BASE_NS + 5_000_000)
    document = json.loads(render_stage_trace((unit,), (), None, (), {"stage": "tts"}, TEXT))
    assert document["metadata"] == {"stage": "tts", "torch": "8 events of the last unit, 1 of them kernels of a GPU"}
    assert any(event["name"] == "gemm" for event in document["traceEvents"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"traceEvents": 3}', '{"traceEvents": []}', '{"traceEvents": [{"ph": "X", "name": "a"}]}']
)
def test_what_is_no_trace_or_has_no_clock_is_one_line(text: str) -> None:
    """A profiler that was cut off."""
    with pytest.raises(AgentError, match="torch's profiler left no trace"):
        place_torch_events(text, BASE_NS)
