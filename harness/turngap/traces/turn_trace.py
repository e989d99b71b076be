"""One turn as Chrome trace JSON for ui.perfetto.dev: its stages, what the agent's threads did, and what held them up.

Tracks: the call with its stages (as in the export of a run), each of the agent's threads with its sampled stack, the
event loop's standstills and the waits for the interpreter, and a counter of waits for a core.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from turngap.model.turn import TurnRecord
from turngap.processes.health_log import HealthSamples, LoopEvent
from turngap.store.stack_samples import StackSamples
from turngap.traces.events import NS_PER_US, Event, list_turn_events, start_at_zero
from turngap.traces.threads import HELD_UP, list_held_up_events, list_stack_events

BEFORE_NS, AFTER_NS = 1_000_000_000, 500_000_000
"""Of the time before t0 and after the answer."""
COUNTER_STEP_NS = 100_000_000


def render_turn_trace(
    turn: TurnRecord,
    window_ns: tuple[int, int],
    stacks: StackSamples | None,
    events: Sequence[LoopEvent],
    health: HealthSamples | None,
    about: Mapping[str, str],
) -> str:
    """Return the trace of a turn; `window_ns` is from its t0 to its answer, times are µs from the first event.

    `about` is stated in the trace's metadata; there `t0_us` is when the caller's speech ended.
    """
    begin_ns, end_ns = window_ns[0] - BEFORE_NS, window_ns[1] + AFTER_NS
    trace = list_turn_events(turn, turn.t0_ns)
    trace += list_stack_events(stacks, begin_ns, end_ns, turn.t0_ns)
    trace += list_held_up_events(events, begin_ns, end_ns, turn.t0_ns)
    trace += _counter_events(health, begin_ns, end_ns, turn.t0_ns)
    placed, t0_us = start_at_zero(trace)
    facts = {"call": turn.call, "turn": turn.turn, "utterance": turn.utterance_id, "t0_us": t0_us}
    document = {"displayTimeUnit": "ms", "traceEvents": placed, "metadata": {**facts, **about}}
    return json.dumps(document, separators=(",", ":")) + "\n"


def count_changes(stacks: StackSamples | None, window_ns: tuple[int, int]) -> int:
    """Return how many samples with another stack a turn's trace has."""
    if stacks is None:
        return 0
    begin_ns, end_ns = window_ns[0] - BEFORE_NS, window_ns[1] + AFTER_NS
    return sum(begin_ns <= change.at_ns <= end_ns for change in stacks.changes)


def _counter_events(health: HealthSamples | None, begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    if health is None:
        return []
    out: list[Event] = []
    for since_ns in range(begin_ns, end_ns, COUNTER_STEP_NS):
        grown = health.measure_growth("queued_s", since_ns / 1e9, (since_ns + COUNTER_STEP_NS) / 1e9)
        if grown is not None:
            value = {"ms in 100 ms, all threads": round(grown * 1e3, 3)}
            at_us = (since_ns - base_ns) / NS_PER_US
            out.append({"ph": "C", "name": "waits for a core", "pid": HELD_UP, "ts": at_us, "args": value})
    return out
