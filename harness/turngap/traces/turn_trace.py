"""One turn as Chrome trace JSON for ui.perfetto.dev: its stages, what the agent's threads did, and what held them up.

Tracks: the call with its stages (as in the export of a run), each of the agent's threads with its sampled stack as
nested slices, the event loop's standstills and the waits for the interpreter, and a counter of waits for a core. A
slice of a stack lasts from the first sample that has the function at that depth to the first that has not: its ends are
exact to the sampling period, not better.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from turngap.model.turn import TurnRecord
from turngap.processes.health_log import HealthSamples, LoopEvent
from turngap.store.stack_samples import StackChange, StackSamples
from turngap.traces.events import NS_PER_US, Event, turn_events

AGENT, HELD_UP = 900_001, 900_002
"""Process numbers in the trace, beside those of the calls."""
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
    """Return the trace of a turn; `window_ns` is from its t0 to its answer, times in the trace are µs from t0.

    `about` is stated in the trace's metadata.
    """
    begin_ns, end_ns = window_ns[0] - BEFORE_NS, window_ns[1] + AFTER_NS
    trace = turn_events(turn, turn.t0_ns)
    trace += _stack_events(stacks, begin_ns, end_ns, turn.t0_ns)
    trace += _held_up_events(events, begin_ns, end_ns, turn.t0_ns)
    trace += _counter_events(health, begin_ns, end_ns, turn.t0_ns)
    document = {
        "displayTimeUnit": "ms",
        "traceEvents": trace,
        "metadata": {"call": turn.call, "turn": turn.turn, "utterance": turn.utterance_id, **about},
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def count_changes(stacks: StackSamples | None, window_ns: tuple[int, int]) -> int:
    """Return how many samples with another stack a turn's trace has."""
    if stacks is None:
        return 0
    begin_ns, end_ns = window_ns[0] - BEFORE_NS, window_ns[1] + AFTER_NS
    return sum(begin_ns <= change.at_ns <= end_ns for change in stacks.changes)


def _stack_events(stacks: StackSamples | None, begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    if stacks is None:
        return []
    by_thread: dict[int, list[StackChange]] = defaultdict(list)
    for change in stacks.changes:
        if change.at_ns <= end_ns:
            by_thread[change.thread].append(change)
    end_ns = min(end_ns, stacks.end_ns)
    events = [_name(AGENT, "process_name", 0, "the agent's threads, sampled")]
    for thread, changes in sorted(by_thread.items()):
        slices = _slices(changes, stacks.frames, begin_ns, end_ns)
        if not slices:
            continue
        events.append(_name(AGENT, "thread_name", thread, stacks.threads.get(thread, f"thread {thread}")))
        events += [_slice(AGENT, thread, "stack", name, since, until, base_ns) for name, since, until in slices]
    return events


def _slices(
    changes: Sequence[StackChange], frames: Mapping[int, tuple[str, ...]], begin_ns: int, end_ns: int
) -> list[tuple[str, int, int]]:
    """Return name, start and end of each function on a thread's stack; outer ones before inner ones."""
    slices: list[tuple[int, int, str, int]] = []
    open_: list[tuple[str, int]] = []
    for change in [*changes, None]:
        at_ns = end_ns if change is None else max(change.at_ns, begin_ns)
        stack = frames.get(change.stack, ()) if change is not None else ()
        shared = 0
        while shared < min(len(open_), len(stack)) and open_[shared][0] == stack[shared]:
            shared += 1
        while len(open_) > shared:
            name, since = open_.pop()
            if at_ns > since:
                slices.append((since, len(open_), name, at_ns))
        open_ += [(name, at_ns) for name in stack[shared:]]
    return [(name, since, until) for since, _, name, until in sorted(slices)]


def _held_up_events(events: Sequence[LoopEvent], begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    inside = [event for event in events if event.start_ns < end_ns and event.end_ns > begin_ns]
    if not inside:
        return []
    tracks = {"loop": (1, "event loop stood"), "interpreter": (2, "waited for the interpreter")}
    out = [_name(HELD_UP, "process_name", 0, "what held the agent up")]
    out += [_name(HELD_UP, "thread_name", thread, name) for thread, name in tracks.values()]
    free_ns = dict.fromkeys(tracks, 0)
    for event in inside:
        thread, name = tracks[event.kind]
        start_ns = max(event.start_ns, free_ns[event.kind])  # slices of one track must not overlap
        if event.end_ns <= start_ns:
            continue
        free_ns[event.kind] = event.end_ns
        where = event.stack[-1] if event.stack else name
        about = {"ran_ms": event.ran_ms, "queued_ms": event.queued_ms, "stack": "\n".join(event.stack)}
        out.append(_slice(HELD_UP, thread, "health", where, start_ns, event.end_ns, base_ns) | {"args": about})
    return out


def _counter_events(health: HealthSamples | None, begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    if health is None:
        return []
    out: list[Event] = []
    for since_ns in range(begin_ns, end_ns, COUNTER_STEP_NS):
        grown = health.growth("queued_s", since_ns / 1e9, (since_ns + COUNTER_STEP_NS) / 1e9)
        if grown is not None:
            value = {"ms in 100 ms, all threads": round(grown * 1e3, 3)}
            at_us = (since_ns - base_ns) / NS_PER_US
            out.append({"ph": "C", "name": "waits for a core", "pid": HELD_UP, "ts": at_us, "args": value})
    return out


def _slice(pid: int, tid: int, category: str, name: str, since_ns: int, until_ns: int, base_ns: int) -> Event:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": pid,
        "tid": tid,
        "ts": round((since_ns - base_ns) / NS_PER_US, 3),
        "dur": round((until_ns - since_ns) / NS_PER_US, 3),
    }


def _name(pid: int, kind: str, tid: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
