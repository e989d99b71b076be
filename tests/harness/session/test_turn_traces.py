"""Traces of the slowest turns, found after the run, and what they say where nothing was sampled."""

from __future__ import annotations

import json
from pathlib import Path

from turngap.model.health import TraceFile
from turngap.model.turn import Outcome
from turngap.session.turn_traces import NO_THREADS, RESUMED, find_worst, leave_earlier, write_worst_traces
from turngap_agent.health.ring import StackRing
from turngap_agent.tracing import STACK_NAMES, STACK_RING, read_boot_id

from tests.harness import report_builders as builders
from tests.pipeline.health.test_ring import waiting_thread


def test_the_slowest_turns_are_traced_unanswered_ones_first() -> None:
    """Nobody waited longer than for an answer that did not come; turns that are not scored have no trace."""
    turns = [
        builders.turn(0, turn_gap_ms=400.0),
        builders.turn(1, turn_gap_ms=900.0),
        builders.turn(2, outcome=Outcome.MISSED),
        builders.turn(3, turn_gap_ms=950.0, scored=False),
        builders.turn(4, turn_gap_ms=None, outcome=Outcome.HELD),
    ]
    assert [turn.call for turn in find_worst(turns, 2)] == [2, 1]
    assert [turn.call for turn in find_worst(turns, 9)] == [2, 1, 0]


def test_a_trace_is_cut_from_the_ring_and_the_ring_is_deleted(tmp_path: Path) -> None:
    """The ring has all turns; what is kept are the traces of the slowest."""
    turns = [turn.model_copy(update={"boot_id": read_boot_id()}) for turn in builders.turns(4)]
    worst = max(turns, key=lambda turn: turn.turn_gap_ms or 0.0)
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("llm-0"):
        ring.sample(worst.t0_ns + 1_000_000)
    ring.sample(worst.t0_ns + 2_000_000)
    ring.close()
    (trace,), notes = write_worst_traces(tmp_path, turns, 1, of_url=False)
    assert (trace.call, trace.file) == (worst.call, f"traces/call-{worst.call}-turn-0.json")
    assert trace.samples >= 2
    assert notes == ()
    document = json.loads((tmp_path / trace.file).read_text())
    assert any("stand_here" in event["name"] for event in document["traceEvents"])
    assert document["metadata"]["threads"] == "sampled"
    assert not (tmp_path / STACK_RING).exists()
    assert not (tmp_path / STACK_NAMES).exists()


def test_what_a_trace_lacks_is_a_note(tmp_path: Path) -> None:
    """Of an agent at a URL, without a ring, with a damaged one, and of a turn that the ring no longer has."""
    turns = builders.turns(1, boot_id=read_boot_id())
    _, notes = write_worst_traces(tmp_path, turns, 1, of_url=True)
    assert notes == (NO_THREADS,)
    _, notes = write_worst_traces(tmp_path, turns, 1, of_url=False)
    assert notes == ("traces: call 0, turn 0: what the threads did then is not kept: the agent recorded no stacks",)
    (tmp_path / STACK_RING).write_bytes(b"torn")
    _, notes = write_worst_traces(tmp_path, turns, 1, of_url=False)
    assert STACK_RING in notes[0]
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("later"):
        ring.sample(turns[0].t0_ns + 10**12)
    ring.close()
    (trace,), notes = write_worst_traces(tmp_path, turns, 1, of_url=False)
    assert trace.samples == 0
    assert notes == (
        "traces: call 0, turn 0: what the threads did then is not kept: the samples that are left begin later",
    )


def test_a_run_without_scored_turns_has_no_traces(tmp_path: Path) -> None:
    """And no folder for them."""
    assert write_worst_traces(tmp_path, [], 3, of_url=False) == ((), ())
    assert not (tmp_path / "traces").exists()


def test_a_resumed_run_says_that_it_makes_none(tmp_path: Path) -> None:
    """If the run was started with traces: it has some, or the ring of a session that was killed, which is deleted."""
    assert leave_earlier(tmp_path, ()) == ()
    assert leave_earlier(tmp_path, (TraceFile(file="traces/a.json", call=0, turn=0, samples=3),)) == (RESUMED,)
    StackRing.create(tmp_path, rows=64).close()
    assert leave_earlier(tmp_path, ()) == (RESUMED,)
    assert not (tmp_path / STACK_RING).exists()
