"""Planned calls spread over caller processes: each is finished with its plan's moment, and a decided run stops them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from turngap.model.records import CallRecord
from turngap.processes.caller_orders import ArrangedCall, EndedCall, ServedCalls
from turngap.session.agent_run import AssignedCall
from turngap.session.spread_calls import spread_timed_calls
from turngap.session.timed_calls import TimedCall

from tests.harness.builders import example_call, planned

CALLS = [TimedCall(AssignedCall(cast("Any", None), replace(planned(), index=place)), 100 * place) for place in range(6)]


class Processes:
    """Ends one call after the other, in the reverse order, until it is stopped."""

    async def serve(
        self, calls: Sequence[ArrangedCall], *, on_ended: Callable[[EndedCall], object], stop: asyncio.Event
    ) -> ServedCalls:
        """Place nothing."""
        for place in reversed(range(len(calls))):
            if stop.is_set():
                break
            record = replace(example_call().ends(4000), index=calls[place].planned.index)
            on_ended(EndedCall(record, place, 0, 1000 + calls[place].at_ns, 1007 + calls[place].at_ns))
            for _ in range(5):
                await asyncio.sleep(0)
        return ServedCalls((), 1000, ())


def spread(halt_after: int = 99, decided_after: int = 99) -> list[CallRecord]:
    finished: list[CallRecord] = []
    halt = asyncio.Event()

    async def finish(assigned: AssignedCall, record: CallRecord) -> None:
        assert assigned.call.index == record.index
        await asyncio.sleep(0)
        finished.append(record)
        if len(finished) == halt_after:
            halt.set()

    async def run() -> None:
        await spread_timed_calls(
            CALLS,
            cast("Any", Processes()),
            make_order=lambda timed: ArrangedCall(timed.assigned.call, "ws://a", timed.start_ns),
            finish=finish,
            ended=lambda assigned: len(finished) >= decided_after,
            halt=halt,
        )

    asyncio.run(run())
    return finished


def test_each_call_is_finished_with_the_moment_it_was_planned_for() -> None:
    """Whichever ends first; our own lateness stays apart from it."""
    finished = spread()
    assert [record.index for record in finished] == [5, 4, 3, 2, 1, 0]
    assert all(record.planned_ns == 1000 + 100 * record.index for record in finished)
    assert all(record.placed_ns == 1007 + 100 * record.index for record in finished)


def test_a_decided_run_and_a_halt_stop_the_processes() -> None:
    """What has ended by then is finished."""
    assert len(spread(decided_after=2)) == 2
    assert 2 <= len(spread(halt_after=2)) <= 3
