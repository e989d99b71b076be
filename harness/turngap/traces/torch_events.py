"""What torch's profiler saw of a unit, moved onto the clock of a stage's trace: operations, kernels, copies. Pure.

The profiler writes Chrome's trace format, on a clock of its own. Its marks (`turngap_agent.tracing.TORCH_CLOCK`) have
the host's monotonic time in their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from turngap_agent.errors import AgentError
from turngap_agent.tracing import TORCH_CLOCK

from turngap.traces.events import NS_PER_US, Event, to_grid_us
from turngap.traces.threads import name_track

FIRST_PROCESS, FIRST_THREAD = 800_000, 930_000
"""The profiler's processes (one for the host, one for each GPU) and threads have the numbers from here on."""
KERNEL = "kernel"
"""The profiler's category of what a GPU computed."""
_DATED = ("X", "s", "t", "f")
"""Slices, and the arrows from a launch to its kernel; the rest are names and remarks."""


def place_torch_events(text: str, base_ns: int) -> list[Event]:
    """Return the events of a profiler's trace, µs from `base_ns` on the monotonic clock.

    Raises:
        AgentError: it is no trace, or has no mark of the clock.
    """
    try:
        events = [event for event in json.loads(text)["traceEvents"] if isinstance(event, dict)]
        shift_us = _find_shift_us(events, base_ns)
        places = _Places()
        placed = [
            {**event, **places.find(event), **_place_times(event, shift_us)}
            for event in events
            if event.get("ph") in _DATED and not str(event.get("name", "")).startswith(TORCH_CLOCK)
        ]
        names = _read_names(events)
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"torch's profiler left no trace ({type(error).__name__}: {error})") from None
    return [*places.name(names), *placed]


def count_kernels(events: list[Event]) -> int:
    """Return how many kernels of a GPU are among the events."""
    return sum(event.get("cat") == KERNEL for event in events)


def _find_shift_us(events: list[Event], base_ns: int) -> float:
    """Return what is added to the profiler's times; of the marks the one that was recorded with the least delay."""
    shifts = [
        (int(str(event["name"]).removeprefix(TORCH_CLOCK)) - base_ns) / NS_PER_US - float(event["ts"])
        for event in events
        if event.get("ph") == "X" and str(event.get("name", "")).startswith(TORCH_CLOCK)
    ]
    if not shifts:
        raise ValueError("it has no mark of the clock")
    return max(shifts)


def _place_times(event: Mapping[str, Any], shift_us: float) -> dict[str, float]:
    """Return start and length of an event, on the grid of slices."""
    start_us = float(event["ts"]) + shift_us
    placed = {"ts": to_grid_us(round(start_us * NS_PER_US))}
    if "dur" in event:
        placed["dur"] = to_grid_us(round((start_us + float(event["dur"])) * NS_PER_US)) - placed["ts"]
    return placed


Names = dict[tuple[str, Any, Any], str]


def _read_names(events: list[Event]) -> Names:
    """Return the names of processes and threads: by kind, process and thread, which is None for a process."""
    names: Names = {}
    for event in events:
        if event.get("ph") == "M" and event.get("name") in ("process_name", "process_labels", "thread_name"):
            kind = str(event["name"])
            thread = event.get("tid") if kind == "thread_name" else None
            arguments = event.get("args", {})
            names[kind, event.get("pid"), thread] = str(arguments.get("labels") or arguments.get("name") or "")
    return names


class _Places:
    """Numbers for the profiler's processes and threads, which it names as it likes."""

    def __init__(self) -> None:
        self._processes: dict[Any, int] = {}
        self._threads: dict[tuple[Any, Any], int] = {}

    def find(self, event: Mapping[str, Any]) -> dict[str, int]:
        """Return the process and thread of an event, as numbers."""
        process, thread = event.get("pid"), event.get("tid")
        number = self._processes.setdefault(process, FIRST_PROCESS + len(self._processes))
        return {"pid": number, "tid": self._threads.setdefault((process, thread), FIRST_THREAD + len(self._threads))}

    def name(self, names: Names) -> list[Event]:
        """Return the events that name them."""
        out = []
        for process, number in self._processes.items():
            label = names.get(("process_labels", process, None)) or str(process)
            out.append(name_track(number, "process_name", 0, f"torch's profiler: {label}"))
        for (process, thread), number in self._threads.items():
            name = names.get(("thread_name", process, thread)) or f"thread {thread}"
            out.append(name_track(self._processes[process], "thread_name", number, name))
        return out
