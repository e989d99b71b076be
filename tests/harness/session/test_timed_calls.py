"""Calls at planned moments: an agent that stalls does not slow the load down."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from turngap.clock import NS_PER_MS, FakeClock
from turngap.session.agent_run import AssignedCall
from turngap.session.timed_calls import NOTICE_NS, TimedCall, place_timed_calls

from tests.harness.builders import planned

CALLS = [AssignedCall(cast("object", None), planned()) for _ in range(5)]  # type: ignore[arg-type]


def timed(*starts_ms: int) -> list[TimedCall]:
    return [TimedCall(CALLS[place], start_ms * NS_PER_MS) for place, start_ms in enumerate(starts_ms)]


def test_calls_begin_as_planned_though_none_has_ended() -> None:
    """No call returns before the last has begun: each begins at its own moment all the same."""
    clock, begun = FakeClock(), list[tuple[int, int]]()
    everyone = asyncio.Event()
    start_ns = clock.now_ns() + NOTICE_NS

    async def place(assigned: AssignedCall, due_ns: int) -> None:
        begun.append((due_ns - start_ns, clock.now_ns() - start_ns))
        if len(begun) == len(CALLS):
            everyone.set()
        await everyone.wait()

    asyncio.run(place_timed_calls(timed(900, 0, 300, 301, 2000), place, clock=clock, ended=lambda assigned: False))
    assert [due_ns // NS_PER_MS for due_ns, _ in begun] == [0, 300, 301, 900, 2000]
    assert all(at_ns >= due_ns for due_ns, at_ns in begun)


def test_no_call_is_placed_once_it_has_ended() -> None:
    """Those under way are finished."""
    clock, finished = FakeClock(), list[AssignedCall]()

    async def place(assigned: AssignedCall, due_ns: int) -> None:
        await clock.sleep_ns(10 * NS_PER_MS)
        finished.append(assigned)

    calls = timed(0, 100, 200, 300, 400)
    asyncio.run(place_timed_calls(calls, place, clock=clock, ended=lambda assigned: len(finished) >= 2))
    assert 2 <= len(finished) < len(CALLS)


def test_an_error_in_a_call_is_raised() -> None:
    """It is not swallowed with the task."""

    async def place(assigned: AssignedCall, due_ns: int) -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        asyncio.run(place_timed_calls(timed(0), place, clock=FakeClock(), ended=lambda assigned: False))
