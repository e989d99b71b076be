"""Planned calls spread over caller processes, where one process is not enough for them: by call, each in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from turngap.model.records import CallRecord
from turngap.processes.caller_orders import ArrangedCall, CallerLoad, EndedCall
from turngap.processes.caller_processes import CallerProcesses
from turngap.session.agent_run import AssignedCall
from turngap.session.timed_calls import TimedCall

FinishOne = Callable[[AssignedCall, CallRecord], Coroutine[Any, Any, None]]
"""Scores and saves a call that has ended."""


async def spread_timed_calls(
    timed: Sequence[TimedCall],
    callers: CallerProcesses,
    *,
    make_order: Callable[[TimedCall], ArrangedCall],
    finish: FinishOne,
    ended: Callable[[AssignedCall], bool],
    halt: asyncio.Event,
) -> tuple[CallerLoad, ...]:
    """Place each call at its moment in one of the processes; return what they took, when all calls are finished.

    Once `ended` is true, or `halt` is set, no further call is placed, and those under way hang up.

    Raises:
        HarnessError: a process died.
    """
    stop = asyncio.Event()
    finishing: list[asyncio.Task[None]] = []

    async def finish_one(assigned: AssignedCall, record: CallRecord) -> None:
        await finish(assigned, record)
        if ended(assigned):
            stop.set()

    def take(one: EndedCall) -> None:
        record = replace(one.record, planned_ns=one.due_ns, placed_ns=one.placed_ns)
        finishing.append(asyncio.create_task(finish_one(timed[one.place].assigned, record)))

    async def pass_halt_on() -> None:
        await halt.wait()
        stop.set()

    halting = asyncio.create_task(pass_halt_on())
    try:
        served = await callers.serve([make_order(each) for each in timed], on_ended=take, stop=stop)
        await asyncio.gather(*finishing)
    finally:
        for task in (halting, *finishing):
            task.cancel()
    return served.loads
