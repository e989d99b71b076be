"""The tracks of a process's threads in a trace: what was on their stacks, and what held the process up. Pure.

A slice of a stack lasts from the first sample that has the function at that depth to the first that has not: its ends
are exact to the sampling period, not better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from turngap.processes.health_log import LoopEvent
from turngap.store.stack_samples import StackChange, StackSamples
from turngap.traces.events import Event, to_grid_us

AGENT, HELD_UP = 900_001, 900_002
"""Process numbers in the trace, beside those of the calls."""
AGENT_THREADS, HELD_UP_TRACKS = 910_000, 920_000
"""What is added to the number of a thread in them: no two tracks of a trace have the same (`traces.events`)."""


def list_stack_events(stacks: StackSamples | None, begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    """Return the threads' stacks between two times as nested slices; µs from `base_ns`."""
    if stacks is None:
        return []
    by_thread: dict[int, list[StackChange]] = defaultdict(list)
    for change in stacks.changes:
        if change.at_ns <= end_ns:
            by_thread[change.thread].append(change)
    end_ns = min(end_ns, stacks.end_ns)
    events = [name_track(AGENT, "process_name", 0, "the agent's threads, sampled")]
    for thread, changes in sorted(by_thread.items()):
        slices = _slices(changes, stacks.frames, begin_ns, end_ns)
        if not slices:
            continue
        track = AGENT_THREADS + thread
        events.append(name_track(AGENT, "thread_name", track, stacks.threads.get(thread, f"thread {thread}")))
        events += [make_slice(AGENT, track, "stack", name, since, until, base_ns) for name, since, until in slices]
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


def list_held_up_events(events: Sequence[LoopEvent], begin_ns: int, end_ns: int, base_ns: int) -> list[Event]:
    """Return the standstills of the event loop and the waits for the interpreter between two times."""
    inside = [event for event in events if event.start_ns < end_ns and event.end_ns > begin_ns]
    if not inside:
        return []
    tracks = {
        "loop": (HELD_UP_TRACKS + 1, "event loop stood"),
        "interpreter": (HELD_UP_TRACKS + 2, "waited for the interpreter"),
    }
    out = [name_track(HELD_UP, "process_name", 0, "what held the agent up")]
    out += [name_track(HELD_UP, "thread_name", thread, name) for thread, name in tracks.values()]
    free_ns = dict.fromkeys(tracks, 0)
    for event in inside:
        thread, name = tracks[event.kind]
        start_ns = max(event.start_ns, free_ns[event.kind])  # slices of one track must not overlap
        if event.end_ns <= start_ns:
            continue
        free_ns[event.kind] = event.end_ns
        where = event.stack[-1] if event.stack else name
        about = {"ran_ms": event.ran_ms, "queued_ms": event.queued_ms, "stack": "\n".join(event.stack)}
        out.append(make_slice(HELD_UP, thread, "health", where, start_ns, event.end_ns, base_ns) | {"args": about})
    return out


def make_slice(pid: int, tid: int, category: str, name: str, since_ns: int, until_ns: int, base_ns: int) -> Event:
    """Return a slice of a thread's track; slices of one track are one inside the other or apart."""
    ts = to_grid_us(since_ns - base_ns)
    dur = to_grid_us(until_ns - base_ns) - ts
    return {"ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid, "ts": ts, "dur": dur}


def name_track(pid: int, kind: str, tid: int, name: str) -> Event:
    """Return the event that names a process (`process_name`) or a thread of it (`thread_name`)."""
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
