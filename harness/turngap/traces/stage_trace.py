"""A measured stage as Chrome trace JSON for ui.perfetto.dev: its units, the parts of the engine's work, its threads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turngap_agent.errors import AgentError
from turngap_agent.tracing import STAGE_PARTS, TORCH_TRACE

from turngap.processes.health_log import LoopEvent
from turngap.store.stack_samples import StackSamples
from turngap.traces.events import Event, start_at_zero
from turngap.traces.threads import list_held_up_events, list_stack_events, make_slice, name_track
from turngap.traces.torch_events import count_kernels, place_torch_events

ENGINE = 1
"""The engine's process number in the trace."""
UNITS = 1
"""The number of the track of units; the parts of each thread come after it."""


@dataclass(frozen=True, slots=True)
class UnitSlice:
    """One unit of work, ns on the monotonic clock."""

    key: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class PartSlice:
    """A stretch of a unit in one part of the engine."""

    part: str
    thread: str
    start_ns: int
    end_ns: int


def read_parts(folder: Path) -> tuple[tuple[UnitSlice, ...], tuple[PartSlice, ...]]:
    """Return what the stage's process wrote down of its units and their parts.

    Raises:
        AgentError: it wrote nothing, or something else.
    """
    file = folder / STAGE_PARTS
    units: list[UnitSlice] = []
    parts: list[PartSlice] = []
    try:
        for text in file.read_text("utf-8").splitlines():
            line: dict[str, Any] = json.loads(text)
            if "unit" in line:
                units.append(UnitSlice(str(line["unit"]), int(line["start_ns"]), int(line["end_ns"])))
            else:
                parts.append(
                    PartSlice(str(line["part"]), str(line["thread"]), int(line["start_ns"]), int(line["end_ns"]))
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"the stage's process left no trace ({error})") from None
    if not units:
        raise AgentError("the stage's process left a trace without units")
    return tuple(units), tuple(parts)


def read_torch_trace(folder: Path) -> str | None:
    """Return what torch's profiler wrote of one unit; None if the engine is not on torch."""
    file = folder / TORCH_TRACE
    return file.read_text("utf-8", "replace") if file.is_file() else None


def render_stage_trace(
    units: Sequence[UnitSlice],
    parts: Sequence[PartSlice],
    stacks: StackSamples | None,
    events: Sequence[LoopEvent],
    about: Mapping[str, str],
    torch_trace: str | None = None,
) -> str:
    """Return the trace; times in µs from the first unit's start. `about` is stated in its metadata.

    `torch_trace` is what torch's profiler wrote of one of the units, if it was recorded.

    Raises:
        AgentError: that is no trace.
    """
    begin_ns, end_ns = min(unit.start_ns for unit in units), max(unit.end_ns for unit in units)
    trace: list[Event] = [
        name_track(ENGINE, "process_name", 0, "the engine"),
        name_track(ENGINE, "thread_name", UNITS, "units"),
    ]
    trace += [make_slice(ENGINE, UNITS, "unit", unit.key, unit.start_ns, unit.end_ns, begin_ns) for unit in units]
    threads = list(dict.fromkeys(part.thread for part in parts))
    for track, thread in enumerate(threads, UNITS + 1):
        trace.append(name_track(ENGINE, "thread_name", track, f"parts, {thread}"))
        trace += [
            make_slice(ENGINE, track, "part", part.part, part.start_ns, part.end_ns, begin_ns)
            for part in parts
            if part.thread == thread and part.end_ns > part.start_ns
        ]
    trace += list_stack_events(stacks, begin_ns, end_ns, begin_ns)
    trace += list_held_up_events(events, begin_ns, end_ns, begin_ns)
    if torch_trace is not None:
        recorded = place_torch_events(torch_trace, begin_ns)
        trace += recorded
        kernels = count_kernels(recorded)
        about = {**about, "torch": f"{len(recorded)} events of the last unit, {kernels} of them kernels of a GPU"}
    placed, _ = start_at_zero(trace)
    document = {"displayTimeUnit": "ms", "traceEvents": placed, "metadata": dict(about)}
    return json.dumps(document, separators=(",", ":")) + "\n"
