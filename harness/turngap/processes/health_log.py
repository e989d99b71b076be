"""`health.csv` and `health.jsonl`: what held the agent's process up, counted from outside and told from inside.

`health.csv` has the kernel's counters, ten rows a second, read by the sampler. `health.jsonl` is written by an agent
that the instrument started: a line for each time its event loop stood or a thread waited for the interpreter.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from turngap.processes.proc_counters import Counters

LONGEST_STEP_S = 1.0
"""Between rows that are further apart nobody looked: the sampler rested, or the run was resumed."""


@dataclass(frozen=True, slots=True)
class HealthSample(Counters):
    """A row of `health.csv`."""

    at_s: float = 0.0
    """On the host's monotonic clock, as every time of a run."""
    boot_id: str = ""


COLUMNS = ("at_s", *(field.name for field in fields(Counters)), "boot_id")


def format_health_row(at_s: float, counters: Counters, boot_id: str) -> list[str]:
    """Return a line of `health.csv`; an unknown value is an empty cell."""
    values = [
        "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
        for value in asdict(counters).values()
    ]
    return [f"{at_s:.3f}", *values, boot_id]


class HealthSamples:
    """The rows of one boot, in the order of time."""

    def __init__(self, rows: Sequence[dict[str, float | None]]) -> None:
        self._rows = sorted(rows, key=lambda row: row["at_s"] or 0.0)
        self._times = [row["at_s"] or 0.0 for row in self._rows]

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._rows

    def measure_growth(self, column: str, begin_s: float, end_s: float) -> float | None:
        """Return by how much a counter grew between two moments, in proportion where they lie between two rows.

        None if the column was not readable there, or nobody looked during a part of it.
        """
        first, last = bisect_right(self._times, begin_s) - 1, bisect_left(self._times, end_s)
        if first < 0 or last >= len(self._rows) or begin_s > end_s:
            return None
        total = 0.0
        for before, after in pairwise(self._rows[first : last + 1]):
            low, high = before[column], after[column]
            start_s, stop_s = before["at_s"] or 0.0, after["at_s"] or 0.0
            if low is None or high is None or high < low or stop_s - start_s > LONGEST_STEP_S:
                return None
            inside_s = min(end_s, stop_s) - max(begin_s, start_s)
            total += (high - low) * (inside_s / (stop_s - start_s) if stop_s > start_s else 1.0)
        return total

    def measure_total(self, column: str, since_s: float) -> tuple[float, float] | None:
        """Return by how much a counter grew from `since_s` on, and over how many seconds; None if never readable."""
        grown = seconds = 0.0
        for before, after in pairwise(row for row in self._rows if (row["at_s"] or 0.0) >= since_s):
            low, high = before[column], after[column]
            step_s = (after["at_s"] or 0.0) - (before["at_s"] or 0.0)
            if low is not None and high is not None and high >= low and step_s <= LONGEST_STEP_S:
                grown += high - low
                seconds += step_s
        return (grown, seconds) if seconds > 0 else None


def read_samples(file: Path, boot_id: str) -> HealthSamples:
    """Return the rows of `health.csv` of one boot; damaged lines are left out, without a file there are none."""
    rows: list[dict[str, float | None]] = []
    if file.is_file():
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            for line in csv.DictReader(lines):
                if line.get("boot_id") != boot_id:
                    continue
                try:
                    row = {name: float(line[name]) if line.get(name) else None for name in COLUMNS[:-1]}
                except ValueError:
                    continue
                if row["at_s"] is not None:
                    rows.append(row)
    return HealthSamples(rows)


@dataclass(frozen=True, slots=True)
class LoopEvent:
    """The event loop stood still, or a thread waited for the interpreter."""

    kind: str
    """`loop` or `interpreter`."""
    start_ns: int
    end_ns: int
    ran_ms: float
    queued_ms: float
    stack: tuple[str, ...]


def read_events(file: Path, boot_id: str) -> tuple[LoopEvent, ...] | None:
    """Return the lines of `health.jsonl` of one boot, in the order of time; damaged ones are left out.

    None if the agent wrote none of that boot: it was not watched.
    """
    events: list[LoopEvent] = []
    watched = current = False
    if not file.is_file():
        return None
    for text in file.read_text("utf-8", "replace").splitlines():
        line = _parse(text)
        if line is None:
            continue
        if line.get("kind") == "start":
            current = line.get("boot_id") == boot_id
            watched = watched or current
        elif current and line.get("kind") in ("loop", "interpreter"):
            event = _event(line)
            if event is not None:
                events.append(event)
    return tuple(sorted(events, key=lambda event: event.start_ns)) if watched else None


def _parse(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _event(line: dict[str, Any]) -> LoopEvent | None:
    try:
        event = LoopEvent(
            kind=line["kind"],
            start_ns=int(line["start_ns"]),
            end_ns=int(line["end_ns"]),
            ran_ms=float(line.get("ran_ms", 0.0)),
            queued_ms=float(line.get("queued_ms", 0.0)),
            stack=tuple(str(frame) for frame in line.get("stack", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return event if event.end_ns >= event.start_ns else None
