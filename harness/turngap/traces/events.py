"""The events of a turn in Chrome's trace format: its gap and its stages.

Activities of one stage may overlap, and Perfetto does not import overlapping slices of one track; it does import async
`b`/`e` pairs, and shows those of one name and process as one track. So an event's name is its stage, or `turn gap`; the
activity is among its arguments.

Perfetto names a thread by its number alone, whatever its process; so no two tracks of a trace have the same number.
Times begin at 0: a trace says where the end of speech is. It drops a slice that ends later than the one around it, be
it by a nanosecond of rounding; so slices lie on a grid of 1/8 µs, which neither decimal nor binary numbers round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from turngap.model.turn import TurnRecord

NS_PER_US = 1000
_GRID_NS = 125
Event = dict[str, Any]


def list_turn_events(turn: TurnRecord, base_ns: int) -> list[Event]:
    """Return the events of one turn; times in µs from `base_ns`."""
    pid = turn.call + 1
    name = {"name": f"call {turn.call}"}
    events: list[Event] = [{"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": name}]
    t0_us = (turn.t0_ns - base_ns) / NS_PER_US
    if turn.turn_gap_ms is not None:
        about = {"utterance": turn.utterance_id, "outcome": turn.outcome.value, "transcript": turn.transcript}
        events += _event_pair("turn gap", "turn", pid, turn.turn, t0_us, t0_us + turn.turn_gap_ms * 1e3, about)
    for place, bar in enumerate(turn.bars):
        start_us, end_us = (t0_us + ms * 1e3 for ms in (bar.start_ms, bar.end_ms))
        ident = 1000 * (turn.turn + 1) + place
        events += _event_pair(
            bar.activity.stage.value, "stage", pid, ident, start_us, end_us, {"activity": bar.activity.value}
        )
    return events


def to_grid_us(since_ns: int) -> float:
    """Return a time on the grid of slices, µs."""
    return since_ns // _GRID_NS * _GRID_NS / NS_PER_US


def start_at_zero(events: Sequence[Event]) -> tuple[list[Event], float]:
    """Return the events, the first of them at 0; and by how much they are later now, µs."""
    first_us = min((event["ts"] for event in events if "ts" in event), default=0.0)
    later_us = 0.0 - to_grid_us(math.floor(first_us * NS_PER_US))
    placed = [{**event, "ts": round(event["ts"] + later_us, 3)} if "ts" in event else event for event in events]
    return placed, later_us


def _event_pair(
    name: str, category: str, pid: int, ident: int, start_us: float, end_us: float, about: dict[str, Any]
) -> list[Event]:
    both = {"name": name, "cat": category, "pid": pid, "tid": pid, "id2": {"local": hex(ident)}}
    return [both | {"ph": "b", "ts": round(start_us, 3), "args": about}, both | {"ph": "e", "ts": round(end_us, 3)}]
