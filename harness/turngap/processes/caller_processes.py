"""Calls spread over caller processes: placed at planned times from one common start, their records as they end.

One process carries as many calls at once as one core does. Each has an event loop, a scheduler and a real-time priority
of its own; they share nothing but the clock of the host. During its calls a process does nothing but place them:
records come back as a few arrays each, and are put together here.

    async with CallerProcesses.running(2, clips, clock=clock) as callers:
        served = await callers.serve([ArrangedCall(planned, url, at_ns), ...], on_ended=...)
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from turngap_agent.errors import HarnessError

from turngap.caller.lateness import recv_late_ms, send_late_ms, summarise_lateness
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import Clip
from turngap.processes import child
from turngap.processes.caller_orders import (
    ArrangedCall,
    CallerLoad,
    Done,
    Ended,
    EndedCall,
    Order,
    ServedCalls,
    Stop,
)
from turngap.processes.packed_record import unpack_record
from turngap.processes.pickled_messages import LENGTH, encode_message

CALLS_PER_PROCESS = 100
"""So many two-way calls at once leave half of a core free, which bursts and a busy machine need."""
LEAD_NS = 200 * NS_PER_MS
"""From the order to the common start; every process has its calls by then."""
READY_WITHIN_S = 60.0


def count_processes(calls_at_once: int, cpus: int) -> int:
    """Return how many processes carry so many calls on so many CPUs; one CPU, of several, is left to the agent."""
    return max(1, min(-(-calls_at_once // CALLS_PER_PROCESS), cpus - 1))


class CallerProcesses:
    """Processes that place calls. Start them in the main thread (`child`)."""

    def __init__(
        self, processes: Sequence[asyncio.subprocess.Process], clips: Mapping[str, Clip], clock: Clock
    ) -> None:
        self._processes = processes
        self._clips = clips
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        count: int,
        clips: Mapping[str, Clip],
        *,
        clock: Clock,
        cpus: Sequence[int] = (),
        real_time: bool = True,
    ) -> AsyncIterator[Self]:
        """Start `count` processes that have `clips`, by turn key; when all are ready yield, and end them afterwards.

        `cpus`: the CPUs that their callers are bound to, in turn; none: any. `real_time`: raise their priority.

        Raises:
            HarnessError: a process did not start.
        """
        processes: list[asyncio.subprocess.Process] = []
        try:
            for index in range(count):
                options = ["--cpu", str(cpus[index % len(cpus)])] if cpus else []
                options += [] if real_time else ["--ordinary"]
                command = child.python_command("turngap.processes.caller_process", *options)
                processes.append(await child.start_child(command, stderr=None))
            callers = cls(processes, clips, clock)
            await callers._introduce()
            yield callers
        finally:
            await asyncio.gather(*(child.stop_child(process, grace_s=1.0) for process in processes))

    @property
    def pids(self) -> tuple[int, ...]:
        """Their process ids."""
        return tuple(process.pid for process in self._processes)

    async def serve(
        self,
        calls: Sequence[ArrangedCall],
        *,
        on_ended: Callable[[EndedCall], object] | None = None,
        stop: asyncio.Event | None = None,
    ) -> ServedCalls:
        """Place all calls, each at its time after a common start, and return their records and what they took.

        Calls are dealt to the processes in the order of their times. `on_ended` is called with each call as it ends.
        Once `stop` is set all hang up: calls that were not placed by then are missing in what is returned. Await it
        once at a time.

        Raises:
            HarnessError: a process died; what had ended by then was given to `on_ended`.
        """
        count = len(self._processes)
        by_time = sorted(range(len(calls)), key=lambda place: calls[place].at_ns)
        started_ns = self._clock.now_ns() + LEAD_NS
        ended: dict[int, EndedCall] = {}

        def add(one: EndedCall) -> None:
            ended[one.place] = one
            if on_ended is not None:
                on_ended(one)

        stopping = None if stop is None else asyncio.create_task(self._stop_all(stop))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        self._serve(index, Order([(p, calls[p]) for p in by_time[index::count]], started_ns), add)
                    )
                    for index in range(count)
                ]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if stopping is not None:
                stopping.cancel()
        in_order = tuple(ended[place] for place in sorted(ended))
        return ServedCalls(in_order, started_ns, tuple(task.result() for task in tasks))

    async def _introduce(self) -> None:
        """Give the processes the clips; return when all are ready for calls."""

        async def introduce(index: int) -> None:
            await self._tell(index, dict(self._clips))
            await self._hear(index)

        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await asyncio.gather(*map(introduce, range(len(self._processes))))
        except TimeoutError:
            raise HarnessError(
                f"a caller process was not ready within {READY_WITHIN_S:g} s; is the machine overloaded?"
            ) from None

    async def _serve(self, index: int, order: Order, add: Callable[[EndedCall], None]) -> CallerLoad:
        due_ns = {place: order.started_ns + call.at_ns for place, call in order.calls}
        own: list[EndedCall] = []
        await self._tell(index, order)
        while isinstance(answer := await self._hear(index), Ended):
            record = unpack_record(answer.packed, self._clips)
            own.append(EndedCall(record, answer.place, index, due_ns[answer.place], answer.placed_ns))
            add(own[-1])
        assert isinstance(answer, Done)
        return self._summarise(index, answer, own)

    def _summarise(self, index: int, done: Done, calls: Sequence[EndedCall]) -> CallerLoad:
        wall_ns = max(1, done.wall_ns)
        return CallerLoad(
            process=index,
            pid=self._processes[index].pid,
            priority=done.priority,
            calls=len(calls),
            most_at_once=done.most_at_once,
            wall_s=done.wall_ns / 1e9,
            cpu_share=done.cpu_ns / wall_ns,
            busy_share=max(0.0, (done.cpu_ns - done.spun_ns) / wall_ns),
            placed_late_ms=max((call.placed_ns - call.due_ns for call in calls), default=0) / NS_PER_MS,
            send_late=summarise_lateness([send_late_ms(call.record) for call in calls]),
            recv_late=summarise_lateness([recv_late_ms(call.record) for call in calls]),
        )

    async def _stop_all(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for index in range(len(self._processes)):
            await self._tell(index, Stop())

    async def _tell(self, index: int, message: object) -> None:
        stdin = self._processes[index].stdin
        assert stdin is not None
        try:
            stdin.write(encode_message(message))
            await stdin.drain()
        except ConnectionError:
            raise self._death(index) from None

    async def _hear(self, index: int) -> Any:
        stdout = self._processes[index].stdout
        assert stdout is not None
        try:
            (size,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
            return pickle.loads(await stdout.readexactly(size))  # of our own process
        except asyncio.IncompleteReadError:
            raise self._death(index) from None

    def _death(self, index: int) -> HarnessError:
        return HarnessError(
            f"caller process {index + 1} of {len(self._processes)} died: its calls under way are lost; "
            "see the lines above"
        )
