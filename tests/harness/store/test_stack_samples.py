"""The ring of stacks as the agent writes it, read by the instrument."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.store import stack_samples
from turngap_agent.errors import RunFolderError
from turngap_agent.health.ring import StackRing
from turngap_agent.tracing import RING_HEADER, STACK_NAMES, STACK_RING

from tests.pipeline.health.test_ring import waiting_thread


def test_what_the_agent_records_is_read(tmp_path: Path) -> None:
    """Threads by name, their functions outermost first, in the order of time."""
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("llm-0"):
        ring.sample(100)
        ring.sample(200)
    ring.sample(300)
    ring.close()
    samples = stack_samples.read_stack_samples(tmp_path)
    assert samples is not None
    thread = next(number for number, name in samples.threads.items() if name == "llm-0")
    own = [change for change in samples.changes if change.thread == thread]
    assert [(change.at_ns, change.stack == 0) for change in own] == [(100, False), (300, True)]
    frames = samples.frames[own[0].stack]
    assert frames[0].startswith("Thread._bootstrap (threading.py:")
    assert any("stand_here" in frame for frame in frames)
    assert samples.begin_ns == 100


def test_a_ring_that_went_round_begins_later(tmp_path: Path) -> None:
    """Its rows are in the order of time again."""
    ring = StackRing.create(tmp_path, rows=4)
    for at in range(1, 20):
        with waiting_thread(f"t{at}"):
            ring.sample(at)
    ring.close()
    samples = stack_samples.read_stack_samples(tmp_path)
    assert samples is not None
    times = [change.at_ns for change in samples.changes]
    assert len(times) == 4
    assert times == sorted(times)
    assert samples.begin_ns > 10


@pytest.mark.parametrize("damage", [b"", b"x" * 10, b"NOTARING" + b"\0" * 100])
def test_a_damaged_ring_is_refused(tmp_path: Path, damage: bytes) -> None:
    """In one line that names the file."""
    (tmp_path / STACK_RING).write_bytes(damage)
    with pytest.raises(RunFolderError, match=STACK_RING):
        stack_samples.read_stack_samples(tmp_path)


def test_a_header_that_counts_more_than_there_is_is_refused(tmp_path: Path) -> None:
    """A torn copy of the folder."""
    StackRing.create(tmp_path, rows=64).close()
    file = tmp_path / STACK_RING
    file.write_bytes(file.read_bytes()[: RING_HEADER.size + 160])
    with pytest.raises(RunFolderError, match="torn"):
        stack_samples.read_stack_samples(tmp_path)


def test_rows_without_a_name_are_left_out(tmp_path: Path) -> None:
    """A kill may leave a row whose name was not written yet, or half of a name."""
    ring = StackRing.create(tmp_path, rows=64)
    with waiting_thread("t"):
        ring.sample(7)
        ring.close()
    (tmp_path / STACK_NAMES).write_text('{"stack": 1, "fra')
    samples = stack_samples.read_stack_samples(tmp_path)
    assert samples is not None
    assert samples.changes == ()


def test_without_a_ring_there_are_no_samples(tmp_path: Path) -> None:
    """Stacks were not asked for."""
    assert stack_samples.read_stack_samples(tmp_path) is None
    stack_samples.delete_stack_samples(tmp_path)
