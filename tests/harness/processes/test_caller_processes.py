"""Calls spread over processes: every record comes back whole, in order, with what the calls took."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.clock import NS_PER_MS, SystemClock
from turngap.model.records import CallEnd, Received
from turngap.processes.caller_orders import ArrangedCall, EndedCall
from turngap.processes.caller_processes import CallerProcesses, count_processes
from turngap.processes.packed_record import pack_record, unpack_record
from turngap.scenario import PlannedCall
from turngap_agent.errors import HarnessError
from websockets.asyncio.server import serve

from tests.harness.caller.calls import answering, clip, turn
from tests.harness.store.test_recording import call as make_record

TURN = turn(answer_within_ms=5000)
CLIPS = {TURN.key: clip()}


@asynccontextmanager
async def agent_url() -> AsyncIterator[str]:
    async with serve(lambda socket: answering(socket, []), "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/twilio/media"


def test_calls_are_served_by_all_processes_and_come_back_in_order() -> None:
    """Each as if it were placed here, at its time; a second order is served by the same processes."""

    async def main() -> None:
        clock, seen = SystemClock(), list[EndedCall]()
        async with agent_url() as url, CallerProcesses.running(2, CLIPS, clock=clock, real_time=False) as callers:
            assert len(set(callers.pids)) == 2
            calls = [
                ArrangedCall(PlannedCall(n, (TURN,), probe=True), url, (3 - n) * 50 * NS_PER_MS, labels={"n": str(n)})
                for n in range(4)
            ]
            served = await callers.serve(calls, on_ended=seen.append)
            assert [ended.record.index for ended in served.calls] == [0, 1, 2, 3]
            assert [ended.record.labels for ended in served.calls] == [{"n": str(n)} for n in range(4)]
            assert sorted(ended.place for ended in seen) == [0, 1, 2, 3]
            assert [ended.process for ended in served.calls] == [1, 0, 1, 0]
            for place, ended in enumerate(served.calls):
                assert ended.record.end is CallEnd.COMPLETED
                assert ended.record.spoken[0].clip is CLIPS[TURN.key]
                assert ended.record.received
                assert ended.due_ns == served.started_ns + calls[place].at_ns <= ended.placed_ns
            assert [load.calls for load in served.loads] == [2, 2]
            assert all(0 <= load.busy_share <= load.cpu_share for load in served.loads)
            assert all(load.send_late is not None and load.placed_late_ms >= 0 for load in served.loads)
            again = await callers.serve([replace(calls[0], seed=5)])
            assert [ended.record.end for ended in again.calls] == [CallEnd.COMPLETED]
            assert [load.calls for load in again.loads] == [1, 0]

    asyncio.run(main())


def test_a_stop_hangs_up_and_a_death_is_one_line() -> None:
    """Calls under way are interrupted, those to come are not placed; and a process that dies ends the order."""

    async def main() -> None:
        clock = SystemClock()
        async with agent_url() as url, CallerProcesses.running(1, CLIPS, clock=clock, real_time=False) as callers:
            long = turn(key="a", pause_ms=60_000)
            calls = [ArrangedCall(PlannedCall(n, (long,), probe=True), url, n * 3600 * 10**9) for n in range(2)]
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.6, stop.set)
            served = await callers.serve(calls, stop=stop)
            assert [ended.record.end for ended in served.calls] == [CallEnd.INTERRUPTED]
            asyncio.get_running_loop().call_later(0.4, os.kill, callers.pids[0], signal.SIGKILL)
            with pytest.raises(HarnessError, match="caller process 1 of 1 died"):
                await callers.serve(calls)

    asyncio.run(main())


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=20))
def test_a_packed_record_is_unpacked_to_the_same(messages: list[tuple[int, int]]) -> None:
    """Every message with its times, its audio, and how much of it was played."""
    received = tuple(
        Received(place * 10, place * 20, np.arange(samples, dtype=np.int16), min(samples, played))
        for place, (samples, played) in enumerate(messages)
    )
    record = replace(make_record(), received=received)
    clips = {spoken.utterance_id: spoken.clip for spoken in record.spoken}
    again = unpack_record(pack_record(record), clips)
    assert again.spoken == record.spoken
    for one, other in zip(again.received, received, strict=True):
        assert (one.recv_ns, one.play_ns, one.played_samples) == (other.recv_ns, other.play_ns, other.played_samples)
        assert np.array_equal(one.pcm, other.pcm)


@pytest.mark.parametrize(
    ("calls", "cpus", "processes"), [(1, 1, 1), (1, 8, 1), (100, 8, 1), (101, 8, 2), (1000, 4, 3), (1000, 1, 1)]
)
def test_so_many_processes_carry_the_calls(calls: int, cpus: int, processes: int) -> None:
    """As few as can, and one CPU is left to the agent."""
    assert count_processes(calls, cpus) == processes
