"""The trace of one turn: nested slices that Perfetto imports, stages, standstills, and what is not there."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.clock import NS_PER_MS
from turngap.processes.health_log import HealthSamples, LoopEvent
from turngap.processes.health_turns import find_window_ns
from turngap.store.stack_samples import StackChange, StackSamples
from turngap.traces.threads import AGENT, AGENT_THREADS, HELD_UP, HELD_UP_TRACKS
from turngap.traces.turn_trace import AFTER_NS, BEFORE_NS, count_changes, render_turn_trace

from tests.harness import report_builders as builders

TURN = builders.turn(7)
GRID_US = 0.125
FRAMES = {1: ("main", "wait"), 2: ("main", "run", "encode"), 3: ("main", "run", "decode"), 4: ("main",)}


def at(ms: float) -> int:
    return TURN.t0_ns + round(ms * NS_PER_MS)


def render(
    changes: list[StackChange] | None = None,
    events: list[LoopEvent] | None = None,
    health: HealthSamples | None = None,
) -> list[dict[str, Any]]:
    stacks = None if changes is None else StackSamples(tuple(changes), FRAMES, {1: "llm-0", 2: "MainThread"})
    text = render_turn_trace(TURN, find_window_ns(TURN), stacks, events or [], health, {})
    document = json.loads(text)
    t0_us = document["metadata"]["t0_us"]
    assert 0 <= min(event["ts"] for event in document["traceEvents"] if "ts" in event) < GRID_US
    return [
        event | {"ts": round(event["ts"] - t0_us, 3)} if "ts" in event else event for event in document["traceEvents"]
    ]


def slices(events: list[dict[str, Any]], pid: int) -> dict[int, list[tuple[str, float, float]]]:
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and event["pid"] == pid:
            tracks[event["tid"]].append((event["name"], event["ts"], event["ts"] + event["dur"]))
    return tracks


def test_functions_are_slices_that_last_while_they_are_on_the_stack() -> None:
    """One that stays while what it calls changes is one slice; times are µs from the end of speech."""
    changes = [StackChange(at(ms), 1, stack) for ms, stack in ((0, 1), (10, 2), (30, 3), (50, 1), (60, 0), (70, 0))]
    assert slices(render(changes), AGENT)[AGENT_THREADS + 1] == [
        ("main", 0.0, 60_000.0),
        ("wait", 0.0, 10_000.0),
        ("run", 10_000.0, 50_000.0),
        ("encode", 10_000.0, 30_000.0),
        ("decode", 30_000.0, 50_000.0),
        ("wait", 50_000.0, 60_000.0),
    ]


def test_what_began_earlier_is_cut_at_the_traces_ends() -> None:
    """A thread that waited long before still has its slice, from the trace's beginning to the last sample."""
    changes = [StackChange(at(-60_000), 1, 1), StackChange(at(60_000), 1, 1)]
    ((name, begin, end), _) = slices(render(changes), AGENT)[AGENT_THREADS + 1]
    assert name == "main"
    assert begin == -BEFORE_NS / 1000
    assert end == pytest.approx((find_window_ns(TURN)[1] + AFTER_NS - TURN.t0_ns) / 1000)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1500, 1500), st.integers(1, 2), st.integers(0, 4)), max_size=30).map(
        lambda rows: sorted(rows)
    )
)
def test_slices_of_a_track_nest(rows: list[tuple[int, int, int]]) -> None:
    """Two slices of one thread are one inside the other or apart, to the last digit: Perfetto drops others."""
    changes = [StackChange(at(0) + 1_000_003 * step, thread, stack) for step, thread, stack in rows]
    for track in slices(render(changes), AGENT).values():
        for _, begin, end in track:
            assert end > begin
        for (_, begin, end), (_, other_begin, other_end) in pairwise(track):
            assert begin <= other_begin
            assert other_begin >= end or other_end <= end


def test_every_thread_has_its_name() -> None:
    """In the metadata that ui.perfetto.dev reads."""
    changes = [StackChange(at(0), 1, 2), StackChange(at(0), 2, 1), StackChange(at(50), 1, 1)]
    named = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in render(changes)
        if event["ph"] == "M" and event["name"] == "thread_name"
    }
    assert named == {(AGENT, AGENT_THREADS + 1): "llm-0", (AGENT, AGENT_THREADS + 2): "MainThread"}


def test_standstills_have_tracks_of_their_own() -> None:
    """Named by the function, with the whole stack; two that overlap by their watchers' clocks do not overlap here."""
    events = [
        LoopEvent("loop", at(10), at(48), 30.0, 8.0, ("handle (x.py:1)", "dumps (json/__init__.py:231)")),
        LoopEvent("loop", at(45), at(60), 30.0, 8.0, ()),
        LoopEvent("interpreter", at(10), at(25), 0.0, 0.0, ()),
        LoopEvent("loop", at(-9000), at(-8000), 1.0, 1.0, ()),
    ]
    tracks = slices(render(events=events), HELD_UP)
    assert tracks[HELD_UP_TRACKS + 1] == [
        ("dumps (json/__init__.py:231)", 10_000.0, 48_000.0),
        ("event loop stood", 48_000.0, 60_000.0),
    ]
    assert tracks[HELD_UP_TRACKS + 2] == [("waited for the interpreter", 10_000.0, 25_000.0)]


def test_waits_for_a_core_are_a_counter() -> None:
    """In ms of each 100 ms."""
    begin_s = at(0) / 1e9 - 3
    health = HealthSamples([{"at_s": begin_s + step / 10, "queued_s": step * 0.02} for step in range(80)])
    values = [event["args"] for event in render(health=health) if event["ph"] == "C"]
    assert values
    assert {round(value["ms in 100 ms, all threads"], 1) for value in values} == {20.0}


def test_no_two_tracks_have_the_same_number() -> None:
    """Perfetto names a thread by its number alone: the name would be another track's."""
    changes = [StackChange(at(0), thread, 1) for thread in (1, 2)] + [StackChange(at(50), 1, 0)]
    events = render(
        changes, [LoopEvent("loop", at(10), at(48), 1.0, 1.0, ()), LoopEvent("interpreter", at(1), at(9), 0, 0, ())]
    )
    tracks = {(event["pid"], event["tid"]) for event in events if event["ph"] in ("X", "b")}
    assert len(tracks) == len({thread for _, thread in tracks}) == 5


def test_without_samples_the_stages_are_still_there() -> None:
    """An agent at a URL: the same slices as in the export of a run."""
    events = render()
    assert {event["ph"] for event in events} == {"M", "b", "e"}
    assert {"turn gap", "transcription", "first_token"} <= {event["name"] for event in events if event["ph"] == "b"}


def test_only_changes_in_the_window_are_counted() -> None:
    """What a trace lacks is said by their number."""
    stacks = StackSamples((StackChange(at(-5000), 1, 1), StackChange(at(5), 1, 2)), FRAMES, {1: "a"})
    assert count_changes(stacks, find_window_ns(TURN)) == 1
    assert count_changes(None, find_window_ns(TURN)) == 0
