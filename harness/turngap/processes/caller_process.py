"""One caller process, `python -m turngap.processes.caller_process`: places the calls that it reads from its stdin.

Its main thread is the event loop of its calls. Two threads read and write the pipes: a full pipe must not stop a call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import IO, Any

from turngap.caller.call import place_call
from turngap.caller.priority import describe_priority, raised_priority, short_collections
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.model.records import Clip
from turngap.processes.caller_orders import ArrangedCall, Done, Ended, Order, Stop
from turngap.processes.packed_record import pack_record
from turngap.processes.pickled_messages import encode_message, read_messages


class CallPlacer:
    """Places the calls of one order after the other."""

    def __init__(
        self, clips: Mapping[str, Clip], clock: SystemClock, scheduler: Scheduler, answer: Callable[[object], None]
    ) -> None:
        """`answer` is called with what the other side is told."""
        self._clips = clips
        self._clock = clock
        self._scheduler = scheduler
        self._answer = answer
        self._at_once = self._most_at_once = 0
        self._calls: list[asyncio.Task[None]] = []

    async def place_all(self, order: Order) -> None:
        """Place an order's calls; answer with each record, and at last with what they took."""
        self._most_at_once = 0
        with short_collections():
            self._calls = [
                asyncio.create_task(self._place(place, call, order.started_ns + call.at_ns))
                for place, call in order.calls
            ]
            await self._wait_until_ns(order.started_ns)
            cpu_ns, spun_ns = _cpu_ns(), self._clock.spun_ns
            if self._calls:
                await asyncio.wait(self._calls)
        cpu_ns, spun_ns = _cpu_ns() - cpu_ns, self._clock.spun_ns - spun_ns
        wall_ns = self._clock.now_ns() - order.started_ns
        for task in self._calls:
            if not task.cancelled():  # as one is that was stopped before it was placed
                task.result()
        self._answer(Done(describe_priority(), self._most_at_once, wall_ns, cpu_ns, spun_ns))

    def stop(self) -> None:
        """Hang up the calls under way, and place no more."""
        for task in self._calls:
            task.cancel()

    async def _place(self, place: int, call: ArrangedCall, due_ns: int) -> None:
        await self._wait_until_ns(due_ns)
        placed_ns = self._clock.now_ns()
        self._at_once += 1
        self._most_at_once = max(self._most_at_once, self._at_once)
        record = await place_call(
            call.url,
            call.planned,
            self._clips,
            clock=self._clock,
            scheduler=self._scheduler,
            seed=call.seed,
            auth_token=call.auth_token,
            call_sid=call.call_sid,
            custom_parameters=call.custom_parameters,
            labels=call.labels,
            dialect=call.dialect,
        )
        self._at_once -= 1
        self._answer(Ended(pack_record(record), place, placed_ns))

    async def _wait_until_ns(self, due_ns: int) -> None:
        while (ahead_ns := due_ns - self._clock.now_ns()) > 0:
            await self._clock.sleep_ns(ahead_ns)


async def serve_orders(orders: asyncio.Queue[Any], answer: Callable[[object], None]) -> None:
    """Serve the orders of the process that started this one, until there are no more; the first one is the clips.

    Raises:
        BaseException: what placing calls raised, which ends the process.
    """
    clips = await orders.get()
    if clips is None:
        return
    clock = SystemClock()
    async with Scheduler(clock).running() as scheduler, asyncio.TaskGroup() as placing:
        placer = CallPlacer(clips, clock, scheduler, answer)
        answer(describe_priority())
        while (order := await orders.get()) is not None:
            if isinstance(order, Stop):
                placer.stop()
            else:
                placing.create_task(placer.place_all(order))
        placer.stop()


def _cpu_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def _read_orders(source: IO[bytes], loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[Any]) -> None:
    """Pass on what is read; None at the end."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        for message in read_messages(source):
            loop.call_soon_threadsafe(orders.put_nowait, message)
        loop.call_soon_threadsafe(orders.put_nowait, None)


def _write_answers(target: IO[bytes], answers: SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the process that started this one has ended
        while (data := answers.get()) is not None:
            target.write(data)
            target.flush()


def main() -> None:
    """Serve on stdin and stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpu", type=int, help="bind the calls to this CPU")
    parser.add_argument("--ordinary", action="store_true", help="do not raise the priority")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get among the answers
    answers: SimpleQueue[bytes | None] = SimpleQueue()
    writer = threading.Thread(target=_write_answers, args=(target, answers), daemon=True)
    writer.start()

    async def run() -> None:
        orders: asyncio.Queue[Any] = asyncio.Queue()
        reader_arguments = (sys.stdin.buffer, asyncio.get_running_loop(), orders)
        threading.Thread(target=_read_orders, args=reader_arguments, daemon=True).start()
        if options.cpu is not None and hasattr(
            os, "sched_setaffinity"
        ):  # not on macOS; this thread, but not the two others
            os.sched_setaffinity(0, {options.cpu})
        with contextlib.nullcontext() if options.ordinary else raised_priority():
            await serve_orders(orders, lambda message: answers.put(encode_message(message)))

    try:
        asyncio.run(run())
    except BaseException:  # noqa: BLE001  # whatever it is, it is printed, and no thread is waited for
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    answers.put(None)
    writer.join()


if __name__ == "__main__":
    # Not this `__main__`'s own functions: its classes would be others than those at the pipe's other end.
    from turngap.processes import caller_process

    caller_process.main()
