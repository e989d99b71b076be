"""The ring of stacks: what it keeps, and that a full disk is said before anything is sampled."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.health.ring import KEY_TICKS, StackRing
from turngap_agent.tracing import RING_HEADER, RING_MAGIC, RING_ROW, STACK_NAMES, STACK_RING


@contextmanager
def waiting_thread(name: str) -> Iterator[threading.Event]:
    """A thread that stands in `stand_here` until the context ends."""
    started, go = threading.Event(), threading.Event()

    def stand_here() -> None:
        started.set()
        go.wait()

    thread = threading.Thread(target=stand_here, name=name)
    thread.start()
    started.wait()
    try:
        yield go
    finally:
        go.set()
        thread.join()


def rows(folder: Path) -> tuple[int, int, list[tuple[int, ...]]]:
    """How many rows the ring keeps, how many were written, and those that are in it."""
    data = (folder / STACK_RING).read_bytes()
    magic, capacity, written = RING_HEADER.unpack_from(data)
    assert magic == RING_MAGIC
    kept = min(capacity, written)
    return capacity, written, [RING_ROW.unpack_from(data, RING_HEADER.size + i * RING_ROW.size) for i in range(kept)]


def names(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / STACK_NAMES).read_text().splitlines()]


def test_a_thread_that_waits_costs_one_row(tmp_path: Path) -> None:
    """Its stack is recorded once, with the function that it stands in and its name."""
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("the waiting one"):
        for tick in range(5):
            ring.sample(1000 + tick)
        ring.close()
    thread = next(line["thread"] for line in names(tmp_path) if line.get("name") == "the waiting one")
    own = [row for row in rows(tmp_path)[2] if row[1] == thread]
    assert [row[0] for row in own] == [1000]
    frames = next(line["frames"] for line in names(tmp_path) if line.get("stack") == own[0][2])
    assert isinstance(frames, list)
    assert any("stand_here" in frame for frame in frames)


def test_a_thread_that_ends_gets_a_row_without_a_stack(tmp_path: Path) -> None:
    """From then on nothing is known of it."""
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("short"):
        ring.sample(1)
    ring.sample(2)
    ring.close()
    thread = next(line["thread"] for line in names(tmp_path) if line.get("name") == "short")
    assert [row[0] for row in rows(tmp_path)[2] if row[1] == thread and row[2] == 0] == [2]


def test_the_ring_goes_round_and_still_knows_every_thread(tmp_path: Path) -> None:
    """The oldest rows are overwritten; threads that do nothing are written again."""
    ring = StackRing.create(tmp_path, rows=8)
    with waiting_thread("idle"):
        for tick in range(30 * KEY_TICKS):
            ring.sample(tick)
        ring.close()
    capacity, written, kept = rows(tmp_path)
    assert (capacity, len(kept)) == (8, 8)
    assert written >= 30
    thread = next(line["thread"] for line in names(tmp_path) if line.get("name") == "idle")
    assert any(row[1] == thread for row in kept)


def test_a_full_disk_is_said_before_anything_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with folder and size: a page without room would end the process later, in a call."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(EngineError, match=r"no room for the ring of stacks, 16 MiB \(No space left on device\)"):
        StackRing.create(tmp_path)
