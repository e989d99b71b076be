"""Traces of a run's slowest turns, found afterwards from the ring of what the agent's threads did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turngap_agent import tracing
from turngap_agent.errors import RunFolderError

from turngap.model.health import TraceFile
from turngap.model.turn import TurnRecord
from turngap.processes import health_log
from turngap.processes.health_turns import find_window_ns
from turngap.store import disk, stack_samples
from turngap.store import folder as store
from turngap.store.stack_samples import StackSamples
from turngap.traces import turn_trace

TRACES = "traces"
"""The folder of a run's traces."""
NO_THREADS = "traces: what the threads of an agent at a URL do is not seen; their traces have its stages and the gap"

RESUMED = "traces: the run was resumed, and a resumed run makes none; it keeps those of before"


def write_worst_traces(
    folder: Path, turns: Sequence[TurnRecord], count: int, *, of_url: bool
) -> tuple[tuple[TraceFile, ...], tuple[str, ...]]:
    """Write the traces of the `count` slowest scored turns into the run's folder, and delete the samples.

    Unanswered turns count as slower than any other. Returns the traces, the slowest turn first, and notes on what they
    lack.

    Raises:
        HarnessError: a trace can't be written.
    """
    notes: list[str] = [NO_THREADS] if of_url else []
    samples: StackSamples | None = None
    try:
        samples = stack_samples.read_stack_samples(folder)
    except RunFolderError as error:
        notes.append(f"traces: {error}")
    worst = find_worst(turns, count)
    boot_id = tracing.read_boot_id()
    events = health_log.read_events(folder / tracing.HEALTH_LOG, boot_id) or ()
    health = health_log.read_samples(folder / store.HEALTH, boot_id)
    traces = []
    if worst:
        (folder / TRACES).mkdir(exist_ok=True)
    for turn in worst:
        window = find_window_ns(turn)
        seen = samples if turn.boot_id == boot_id else None
        changes = turn_trace.count_changes(seen, window)
        if not changes and not of_url:
            notes.append(
                f"traces: call {turn.call}, turn {turn.turn}: what the threads did then is not kept: "
                f"{_explain(samples, window)}"
            )
        name = f"{TRACES}/call-{turn.call}-turn-{turn.turn}.json"
        about = {"threads": "sampled" if changes else "not sampled"}
        disk.replace_file(folder / name, turn_trace.render_turn_trace(turn, window, seen, events, health, about))
        traces.append(TraceFile(file=name, call=turn.call, turn=turn.turn, samples=changes))
    stack_samples.delete_stack_samples(folder)
    return tuple(traces), tuple(notes)


def leave_earlier(folder: Path, earlier: Sequence[TraceFile]) -> tuple[str, ...]:
    """Delete the samples of a session that was cut off; return the note that a resumed run of traced turns needs.

    `earlier` are the traces that the run has. What the threads did in an earlier session is over, and a resumed agent
    is not sampled.
    """
    if not earlier and not (folder / tracing.STACK_RING).is_file():
        return ()
    stack_samples.delete_stack_samples(folder)
    return (RESUMED,)


def find_worst(turns: Sequence[TurnRecord], count: int) -> list[TurnRecord]:
    """Return the slowest valid turns, the slowest first; those without an answer before all others."""
    valid = [turn for turn in turns if turn.is_valid and (turn.turn_gap_ms is not None or not turn.is_good)]
    return sorted(
        valid,
        key=lambda turn: (turn.turn_gap_ms is not None, -(turn.turn_gap_ms or 0.0), turn.call, turn.turn),
    )[:count]


def _explain(samples: StackSamples | None, window_ns: tuple[int, int]) -> str:
    if samples is None:
        return "the agent recorded no stacks"
    if window_ns[1] < samples.begin_ns:
        return "the samples that are left begin later"
    return "the agent was not being sampled then"
