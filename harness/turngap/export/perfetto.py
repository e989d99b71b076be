"""A run as Chrome trace JSON for ui.perfetto.dev: a process per call, in it a track a stage and one for the gaps."""

from __future__ import annotations

import json

from turngap.store.folder import StoredRun
from turngap.traces.events import Event, list_turn_events, start_at_zero


def render_trace(run: StoredRun) -> str:
    """Return the trace; times in µs from its first event."""
    turns = [turn for turn in run.turns if turn.bars or turn.t1_ns is not None]
    base_ns = min((turn.t0_ns for turn in turns), default=0)
    events: list[Event] = []
    for turn in turns:
        events += list_turn_events(turn, base_ns)
    placed, _ = start_at_zero(events)
    document = {"displayTimeUnit": "ms", "traceEvents": placed, "metadata": {"run_id": run.record.run_id}}
    return json.dumps(document) + "\n"
