"""Calls to engines that raise, hang, return nothing or garbage: they end by the deadline, with what the engine did."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from turngap_agent import engine_tasks, meter
from turngap_agent.deadlines import EngineFailure, Guard, Overseer, StageError, StreamLimits
from turngap_agent.errors import EngineError
from turngap_agent.meter import Meter

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
SOON_MS, LATE_MS = 20.0, 60_000.0
LIMITS = StreamLimits(LATE_MS, "first_ms", SOON_MS, "next_ms")
FIRST = StreamLimits(SOON_MS, "first_ms", LATE_MS, "next_ms")


class Notes(Overseer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.faults: list[StageError] = []
        self.answers: list[str] = []
        self.cancelled: list[str] = []

    def note_answer(self, stage: str) -> None:
        self.answers.append(stage)

    def note_fault(self, fault: StageError, work: Meter) -> None:
        self.faults.append(fault)

    def note_cancelled(self, stage: str, work: Meter, within_ms: float) -> None:
        self.cancelled.append(stage)


def number(value: Any) -> int:
    """The value, if it is a whole number."""
    if not isinstance(value, int):
        raise TypeError(f"{value!r}")
    return value


async def hang() -> Any:
    await asyncio.Event().wait()


async def ignore_cancellation() -> Any:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not ignoring:
                raise


ignoring: list[bool] = []


async def raise_(error: BaseException) -> Any:
    raise error


async def result(work: Callable[[], Any], limit_ms: float = SOON_MS) -> tuple[Any, Notes]:
    """What a guarded call returned, or its fault."""
    notes = Notes()
    try:
        return await Guard(notes).result("stt", limit_ms, "stt_ms", work, number), notes
    except StageError:
        (fault,) = notes.faults
        return fault, notes


async def test_a_result_is_returned() -> None:
    """And the stage has answered."""
    value, notes = await result(lambda: asyncio.sleep(0, 7), LATE_MS)
    assert (value, notes.answers, notes.faults) == (7, ["stt"], [])


@pytest.mark.parametrize(
    ("work", "kind", "words"),
    [
        (hang, EngineFailure.DEADLINE, r"stt: no answer within 20 ms \(deadlines.stt_ms\)"),
        (lambda: raise_(EngineError("no memory")), EngineFailure.RAISED, "no memory"),
        (lambda: raise_(SystemExit(1)), EngineFailure.RAISED, "stt: SystemExit: 1"),
        (lambda: raise_(KeyboardInterrupt()), EngineFailure.RAISED, "stt: KeyboardInterrupt: KeyboardInterrupt"),
        (
            lambda: raise_(asyncio.CancelledError("a defect")),
            EngineFailure.RAISED,
            "stt: CancelledError: the engine canc",
        ),
        (lambda: raise_(EngineError("x" * 100_000)), EngineFailure.RAISED, "x" * 300),
        (lambda: asyncio.sleep(0, "7"), EngineFailure.GARBAGE, "stt: the engine returned '7'"),
        (lambda: 7, EngineFailure.RAISED, "stt: TypeError: "),
    ],
)
async def test_whatever_an_engine_does_is_one_fault(work: Callable[[], Any], kind: EngineFailure, words: str) -> None:
    """With its kind, in one line, and the deadline only where it was missed."""
    fault, notes = await result(work)
    assert (fault.stage, fault.kind, fault.deadline_ms) == ("stt", kind, SOON_MS if kind == "deadline" else None)
    assert re.match(words, str(fault))
    assert len(str(fault)) < 400
    assert notes.answers == []


async def test_an_engine_that_ignores_its_cancellation_is_not_waited_for() -> None:
    """The call ends at its deadline all the same."""
    ignoring.append(True)
    try:
        fault, _ = await result(ignore_cancellation)
        assert fault.kind is EngineFailure.DEADLINE
    finally:
        ignoring.clear()
        for task in tuple(engine_tasks._abandoned):
            task.cancel()


class Replacing(Notes):
    """Says when the engine has been replaced: `replace` does it."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.out = False
        self.until_s: list[float] = []
        """By when an engine that is asked has to answer."""

    async def wait_ready(self, stage: str, within_s: float) -> None:
        self.until_s.append(asyncio.get_running_loop().time() + within_s)

    def change(self, stage: str) -> asyncio.Future[bool]:
        return self.changed

    def is_out(self, stage: str) -> bool:
        return self.out

    def replace(self, *, done: bool = True) -> None:
        self.changed.set_result(done)
        self.changed = asyncio.get_running_loop().create_future()


async def test_a_call_that_waits_is_begun_again_on_a_fresh_engine() -> None:
    """Its deadline counts anew, and it is no fault; it stays where it is if there is no fresh engine."""
    overseer, engines = Replacing(), [hang, lambda: asyncio.sleep(0, 7)]
    task = asyncio.create_task(Guard(overseer).result("stt", LATE_MS, "stt_ms", lambda: engines.pop(0)(), number))
    await wait_until(lambda: len(engines) == 1)
    overseer.replace(done=False)
    await asyncio.sleep(0.01)
    assert len(engines) == 1
    overseer.replace()
    assert await task == 7
    first_s, second_s = overseer.until_s
    assert second_s - first_s >= 0.01
    assert (overseer.answers, overseer.faults) == (["stt"], [])


async def test_an_error_of_an_engine_that_is_being_replaced_is_no_fault() -> None:
    """One in a process of its own fails all its calls when that is killed: they are begun again."""
    overseer, engines = Replacing(), [lambda: raise_(EngineError("killed")), lambda: asyncio.sleep(0, 7)]
    overseer.out = True
    assert await Guard(overseer).result("stt", LATE_MS, "stt_ms", lambda: engines.pop(0)(), number) == 7
    assert overseer.faults == []


async def test_a_stream_is_begun_again_only_before_its_first_item() -> None:
    """What a caller has heard a part of is not said twice."""
    overseer, streams = Replacing(), [stream(end=hang), stream(1, 2, end=hang), stream(3)]
    source = Guard(overseer).stream("llm", LIMITS, lambda: streams.pop(0), number, lambda item: item == 0)
    first = asyncio.create_task(anext(source))
    await wait_until(lambda: len(streams) == 2)
    await asyncio.sleep(0.01)
    overseer.replace()
    assert await first == 1
    first_s, second_s = overseer.until_s
    assert second_s - first_s >= 0.01
    overseer.replace()
    assert await anext(source) == 2
    with pytest.raises(StageError, match="no answer within 20 ms"):
        await anext(source)
    assert len(streams) == 1


async def test_a_cancelled_call_closes_its_engine_first() -> None:
    """Who cancels an attempt may start the next one when it has ended; work that goes on is watched."""
    closed = []
    notes = Notes()

    async def work() -> Any:
        with meter.current().busy():
            try:
                await asyncio.Event().wait()
            finally:
                closed.append(True)

    task = asyncio.create_task(Guard(notes).result("stt", LATE_MS, "stt_ms", work, number))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (closed, notes.faults, notes.cancelled) == ([True], [], [])


async def read(start: Callable[[], AsyncIterator[Any]], limits: StreamLimits = LIMITS) -> tuple[list[int], Any, Notes]:
    """The items of a guarded stream, and the fault that ended it."""
    notes, items = Notes(), []
    source = Guard(notes).stream("llm", limits, start, number, lambda item: item == 0)
    try:
        while True:
            items.append(await anext(source))
    except StopAsyncIteration:
        return items, None, notes
    except StageError as fault:
        return items, fault, notes


async def stream(*items: Any, end: Callable[[], Any] | None = None) -> AsyncIterator[Any]:
    for item in items:
        yield item
    if end is not None:
        await end()


async def test_a_stream_is_passed_on() -> None:
    """In order and whole."""
    items, fault, notes = await read(lambda: stream(1, 0, 2))
    assert (items, fault, notes.answers) == ([1, 0, 2], None, ["llm"])


async def endless() -> AsyncIterator[int]:
    while True:
        await asyncio.sleep(0)
        yield 0


@pytest.mark.parametrize(
    ("start", "limits", "items", "kind", "words"),
    [
        (lambda: stream(end=hang), FIRST, [], EngineFailure.DEADLINE, "first_ms"),
        (lambda: stream(1, end=hang), LIMITS, [1], EngineFailure.DEADLINE, "next_ms"),
        (lambda: stream(), LIMITS, [], EngineFailure.NOTHING, "nothing"),
        (lambda: stream(0), LIMITS, [0], EngineFailure.NOTHING, "nothing"),
        (lambda: stream(1, "x"), LIMITS, [1], EngineFailure.GARBAGE, "'x'"),
        (lambda: stream(1, end=lambda: raise_(EngineError("it broke"))), LIMITS, [1], EngineFailure.RAISED, "it broke"),
        (lambda: stream(1, end=lambda: raise_(SystemExit())), LIMITS, [1], EngineFailure.RAISED, "SystemExit"),
        (lambda: 7, LIMITS, [], EngineFailure.RAISED, "TypeError"),
    ],
)
async def test_whatever_a_stream_does_is_one_fault_after_its_items(
    start: Any, limits: StreamLimits, items: list[int], kind: EngineFailure, words: str
) -> None:
    """The items before it are passed on."""
    found, fault, notes = await read(start, limits)
    assert (found, fault.kind, notes.faults) == (items, kind, [fault])
    assert words in str(fault)


async def test_items_without_content_are_no_answer() -> None:
    """A stream of nothing but them misses the deadline of the first item."""
    _, fault, _ = await read(endless, FIRST)
    assert (fault.kind, "first_ms" in str(fault)) == (EngineFailure.DEADLINE, True)


async def test_a_reader_that_pauses_is_not_the_engines_delay() -> None:
    """Only the time that it waits counts, and nothing is read ahead of it."""
    taken = []

    async def noted() -> AsyncIterator[int]:
        for item in (1, 2, 3):
            taken.append(item)
            yield item

    source = Guard(Notes()).stream("llm", LIMITS, noted, number, lambda _: False)
    assert await anext(source) == 1
    await asyncio.sleep(3 * SOON_MS / 1000)
    assert taken == [1]
    assert [item async for item in source] == [2, 3]


async def test_closing_a_stream_closes_the_engines() -> None:
    """At once, in the middle of it."""
    closed = []

    async def noted() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    source = Guard(Notes()).stream("llm", LIMITS, noted, number, lambda _: False)
    assert await anext(source) == 1
    await source.aclose()
    assert closed == [True]


async def test_a_parts_work_counts_for_the_whole() -> None:
    """The meter of a guarded call is a part of its attempt's."""
    attempt = Meter()
    part = Meter(attempt)
    with part.busy():
        assert part.is_busy
        assert attempt.is_busy
    assert not attempt.is_busy
    assert attempt.busy_ms > 0
