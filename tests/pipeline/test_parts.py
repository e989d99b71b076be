"""The parts of an engine's work: one reading of the clock between two, and a delay in the part that it was put into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
from turngap_agent import clock, parts, worker
from turngap_agent.parts import HAND_OVER, Recorder

MS = 1_000_000


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The agent's clock in ns; the test moves it."""
    times = [0]
    monkeypatch.setattr(clock, "now_ns", lambda: times[0])
    return times


def test_a_part_lasts_until_the_next_begins(now: list[int]) -> None:
    """What is before the first belongs to it, what is after the last too: the sum is the whole."""
    recorder = Recorder()
    with recorder.record() as lane:
        now[0] += 1 * MS
        with parts.part("mel"):
            now[0] += 2 * MS
        now[0] += 4 * MS
        with parts.part("encoder"):
            now[0] += 8 * MS
        now[0] += 16 * MS
    assert recorder.total_ns() == {"mel": 7 * MS, "encoder": 24 * MS}
    assert lane.took_ms == 31


def test_a_part_inside_another_interrupts_it(now: list[int]) -> None:
    """No time counts twice."""
    recorder = Recorder()
    with recorder.record(), parts.part("waveform"):
        now[0] += 1 * MS
        with parts.part("network"):
            now[0] += 2 * MS
        now[0] += 4 * MS
    assert recorder.total_ns() == {"waveform": 5 * MS, "network": 2 * MS}
    assert [one.part for one in recorder.slices] == ["waveform", "network", "waveform"]


def work_on_thread(now: list[int], delays_ms: dict[str, int]) -> Callable[[], str]:
    def work() -> str:
        for name in ("mel", "encoder", "decoder"):
            with parts.part(name):
                now[0] += (10 + delays_ms.get(name, 0)) * MS
        return "words"

    return work


@pytest.mark.parametrize("slow", ["mel", "encoder", "decoder"])
def test_a_delay_is_in_the_part_that_it_was_put_into_and_in_no_other(now: list[int], slow: str) -> None:
    """On an engine's thread, for a task that waits for it; and the parts add up to the whole."""
    executor = worker.make_thread("stage-test")

    async def record(delays_ms: dict[str, int]) -> tuple[dict[str, int], float]:
        recorder = Recorder()
        with recorder.record() as lane:
            assert await worker.run(executor, work_on_thread(now, delays_ms)) == "words"
        return recorder.total_ns(), lane.took_ms

    usual, whole_ms = asyncio.run(record({}))
    delayed, longer_ms = asyncio.run(record({slow: 7}))
    executor.shutdown()
    assert {name: delayed[name] - usual[name] for name in usual} == dict.fromkeys(usual, 0) | {slow: 7 * MS}
    assert (sum(usual.values()), sum(delayed.values())) == (whole_ms * MS, longer_ms * MS)
    assert longer_ms - whole_ms == 7


def test_items_of_a_thread_add_up_to_the_whole(now: list[int]) -> None:
    """While its reader handles one, the thread makes the next: that time counts once, as the thread's."""
    executor = worker.make_thread("stage-test")

    def work(emit: worker.Emit[int]) -> None:
        for index in range(3):
            with parts.part("decode"):
                now[0] += 5 * MS
            with parts.part("text"):
                emit(index)

    async def read() -> tuple[list[int], dict[str, int], float]:
        recorder = Recorder()
        with recorder.record() as lane:
            pieces: AsyncIterator[int] = worker.stream(executor, work, in_step=True)
            async with aclosing(pieces):
                items = [item async for item in pieces]
        return items, recorder.total_ns(), lane.took_ms

    items, totals, whole_ms = asyncio.run(read())
    executor.shutdown()
    assert items == [0, 1, 2]
    assert totals["decode"] == 15 * MS
    assert sum(totals.values()) == whole_ms * MS
    assert HAND_OVER in totals


def test_a_device_is_awaited_at_each_border(now: list[int]) -> None:
    """Work that is only queued when the part is left is the part's nevertheless."""
    queued = [0]

    def wait() -> None:
        now[0] += queued[0]
        queued[0] = 0

    recorder = Recorder(wait)
    with recorder.record():
        with parts.part("backbone"):
            queued[0] += 3 * MS
        with parts.part("depth"):
            queued[0] += 9 * MS
    assert recorder.total_ns() == {"backbone": 3 * MS, "depth": 9 * MS}


def test_nothing_is_recorded_where_nobody_listens() -> None:
    """A mark does nothing, and neither does the worker."""
    executor = worker.make_thread("stage-test")

    def work() -> str | None:
        with parts.part("mel"):
            parts.note_shape("positions", 3)
            return parts.find_current_part()

    assert asyncio.run(worker.run(executor, work)) is None
    executor.shutdown()


def test_shapes_belong_to_the_part_that_noted_them() -> None:
    """They say how much was done there."""
    recorder = Recorder()
    with recorder.record(), parts.part("encoder"):
        parts.note_shape("positions", 120)
    assert recorder.shapes == [parts.Shape("encoder", "positions", 120)]
