"""`load.jsonl` of a point: when each of its calls was planned, placed, open and over; and calls under way."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from turngap_agent.errors import HarnessError

from turngap.capacity.points import UnderWay
from turngap.clock import to_ms
from turngap.model.records import CallEnd, CallRecord
from turngap.store.folder import LOAD


@dataclass(frozen=True, slots=True)
class LoadedCall:
    """One call of a load; times in ns on the host's monotonic clock."""

    index: int
    phase: int | None
    """The number of the shape's phase; None for a bystander."""
    planned_ns: int
    placed_ns: int
    opened_ns: int | None
    ended_ns: int
    end: CallEnd

    @classmethod
    def of(cls, record: CallRecord, phase: int | None) -> LoadedCall | None:
        """Return the line of a call; None for one that was not planned for a moment, as warm-up calls are not."""
        if record.planned_ns is None or record.placed_ns is None:
            return None
        return cls(
            index=record.index,
            phase=phase,
            planned_ns=record.planned_ns,
            placed_ns=record.placed_ns,
            opened_ns=record.opened_ns,
            ended_ns=record.ended_ns,
            end=record.end,
        )

    @property
    def is_bystander(self) -> bool:
        """Whether it only kept the load as it was."""
        return self.phase is None

    @property
    def start_delay_ms(self) -> float | None:
        """From the planned start until the stream was open; None if it never was."""
        return None if self.opened_ns is None else to_ms(max(0, self.opened_ns - self.planned_ns))


def append_call(folder: Path, call: LoadedCall) -> None:
    """Append a line; it is not synced, because the callers share this thread.

    Raises:
        HarnessError: it can't be written.
    """
    path = folder / LOAD
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(call)) + "\n")
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_calls(folder: Path) -> tuple[LoadedCall, ...]:
    """Return the calls of a run folder in their planned order, () without a file; damaged lines are left out."""
    path = folder / LOAD
    calls = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            row = json.loads(line)
            calls.append(LoadedCall(**{**row, "end": CallEnd(row["end"])}))
    return tuple(sorted(calls, key=lambda call: call.planned_ns))


def measure_under_way(calls: Sequence[LoadedCall], from_ns: int, to_ns: int) -> UnderWay:
    """Return mean and peak of the calls under way between two moments; a call is under way from its placing on."""
    changes = sorted([*((call.placed_ns, 1) for call in calls), *((call.ended_ns, -1) for call in calls)])
    inside = [(at_ns, by) for at_ns, by in changes if from_ns < at_ns < to_ns]
    level = sum(by for at_ns, by in changes if at_ns <= from_ns)
    peak, total = level, 0
    for (at_ns, by), (next_ns, _) in pairwise([(from_ns, 0), *inside, (to_ns, 0)]):
        level += by
        peak = max(peak, level)
        total += level * (next_ns - at_ns)
    return UnderWay(mean=total / (to_ns - from_ns) if to_ns > from_ns else float(level), peak=peak)
