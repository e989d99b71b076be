"""A caller in a process of its own, `python -m turngap.cluster.caller_process`: it places its share of a run's calls.

It is a whole instrument but for the verdict: calibration, sentinel, clock and scoring are its own. Shares arrive on
stdin, what became of each call leaves on stdout (`messages`).
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

import numpy as np
from turngap_agent import tracing
from turngap_agent.errors import AgentError, TurngapError, one_line

from turngap.caller.priority import describe_priority
from turngap.clock import SystemClock
from turngap.cluster import shares
from turngap.cluster.messages import (
    Began,
    Ended,
    Enough,
    Failed,
    Finished,
    FromCaller,
    Go,
    Ready,
    Share,
    Stop,
    Timed,
    ToCaller,
)
from turngap.model.records import CallRecord
from turngap.model.turn import TurnRecord
from turngap.processes.pickled_messages import encode_message, read_messages
from turngap.scenario import PlannedCall
from turngap.session import runner
from turngap.session.agent_run import AgentRun, AssignedCall, open_run
from turngap.session.runner import Session
from turngap.session.scoring_process import ScoredCall
from turngap.session.stopping import Decided
from turngap.session.timed_calls import TimedCall
from turngap.store import folder as store

INTERRUPTED = "the caller was stopped"


class Post:
    """Sends messages from a thread of its own: a full pipe, or a recording to be read, must not hold the calls up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._queue: queue.SimpleQueue[tuple[FromCaller, Path | None] | None] = queue.SimpleQueue()
        self._sent_bytes: dict[Path, int] = {}
        """Of each run's sentinel log."""
        self._thread = threading.Thread(target=self._send_all, name="post", daemon=True)
        self._thread.start()

    def send(self, message: FromCaller, folder: Path | None = None) -> None:
        """Send a message; one on calls gets what is new in the run's `folder`: recording and the sentinel's log."""
        self._queue.put((message, folder))

    def close(self) -> None:
        """Return when all is sent."""
        self._queue.put(None)
        self._thread.join()

    def _send_all(self) -> None:
        while (item := self._queue.get()) is not None:
            message, folder = item
            if folder is not None and isinstance(message, Ended | Finished | Failed):
                message = replace(message, sentinel=self._read_new(folder / store.SENTINEL))
            if folder is not None and isinstance(message, Ended):
                message = replace(message, recording=_take_recording(folder, message.scored))
            try:
                self._stream.write(encode_message(message))
                self._stream.flush()
            except BrokenPipeError:
                return  # nobody reads any more: stdin is closed too, and ends the process

    def _read_new(self, log: Path) -> str:
        """Return the whole lines that the log got since the last time."""
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            file.seek(self._sent_bytes.get(log, 0))
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._sent_bytes[log] = self._sent_bytes.get(log, 0) + len(whole)
        return whole.decode()


class ShareObserver:
    """Follows the calls of a share: says what becomes of them, and waits for the other callers."""

    def __init__(self, share: Share, agent_run: AgentRun, post: Post) -> None:
        self._share, self._agent_run, self._post = share, agent_run, post
        self._clock_id = make_clock_id(share.caller)
        self.go = asyncio.Event()

    async def wait_for_start(self) -> None:
        """Say that this caller is ready, and wait for all others."""
        share = self._share
        sha256 = shares.hash_plan(share.request.calls, share.corpus)
        calibration = self._agent_run.progress.calibration
        self._post.send(Ready(calibration, sha256, describe_priority(), self._clock_id))
        await self.go.wait()

    def note_begin(self, call: PlannedCall) -> None:
        """Say that a call has begun."""
        self._post.send(Began(call.index))

    def note_end(self, call: PlannedCall, scored: ScoredCall) -> None:
        """Send the turns of a call, with its recording."""
        turns = tuple(turn.model_copy(update={"boot_id": self._clock_id}) for turn in scored.turns)
        self._post.send(Ended(call.index, replace(scored, turns=turns)), self._agent_run.folder.path)


class _Silent:
    """Shows nothing: progress is shown where the run is driven."""

    def show_message(self, text: str) -> None: ...

    def show_start(self, turns: int) -> None: ...

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None: ...


def make_clock_id(caller: str) -> str:
    """Return the id of this caller's clock: the times of two callers are never compared, even on one host."""
    return f"{tracing.read_boot_id()} {caller}"


def strip_audio(record: CallRecord) -> CallRecord:
    """Return when a call was planned, placed, open and over, and how it ended; nothing of what was said."""
    return replace(
        record,
        sent_ns=np.empty(0, np.int64),
        caller_pcm=np.empty(0, np.int16),
        spoken=(),
        received=(),
        marks=(),
        clears_ns=(),
        stalls=np.empty((0, 2), np.int64),
        chunks=None,
    )


async def place_share(share: Share, orders: asyncio.Queue[ToCaller | None], post: Post, folder: Path) -> bool:
    """Place the calls of a share; its run is in `folder` meanwhile. Return False once no further share will come."""
    clock = SystemClock()
    request = replace(share.request, options=replace(share.request.options, out=folder))
    agent_run = await open_run(request, share.corpus, clock)
    path = agent_run.folder.path
    observer, stop, is_open = ShareObserver(share, agent_run, post), asyncio.Event(), True

    async def obey() -> None:
        nonlocal is_open
        while True:
            order = await orders.get()
            if isinstance(order, Go):
                observer.go.set()
            elif isinstance(order, Enough):
                agent_run.progress.decided = Decided(0, "the driver has enough")
                observer.go.set()
            elif order is None or isinstance(order, Stop):
                is_open = order is not None
                stop.set()
                return

    obeying = asyncio.create_task(obey())
    timed = [TimedCall(AssignedCall(agent_run, call), start_ns) for call, start_ns in share.timed]
    session = Session(
        agent_runs=[agent_run],
        calls=[AssignedCall(agent_run, call) for call in share.calls],
        slots=share.slots,
        sentinel_log=path / store.SENTINEL,
        interrupted=INTERRUPTED,
        observer=observer,
        arrange=(lambda _: timed) if timed else None,
        on_call=(lambda record: post.send(Timed(strip_audio(record)))) if timed else None,
    )
    try:
        error = await runner.run_session(session, share.corpus, _Silent(), clock=clock, stop=stop)
    except TurngapError as refusal:
        error = refusal
    finally:
        obeying.cancel()
        agent_run.unlock()
    notes = tuple(agent_run.progress.notes)
    if error is not None and error.code != "harness.interrupted":
        post.send(Failed(str(error), isinstance(error, AgentError), notes), path)
    else:
        post.send(Finished(notes), path)
    return is_open


async def serve(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    """Place the shares that arrive on `stdin`, one after the other, until it is closed."""
    loop, orders = asyncio.get_running_loop(), asyncio.Queue[ToCaller | None]()
    post = Post(stdout)

    def listen() -> None:
        for message in read_messages(stdin):
            loop.call_soon_threadsafe(orders.put_nowait, cast(ToCaller, message))
        loop.call_soon_threadsafe(orders.put_nowait, None)

    # The death of the driver: the callers' calls end as if it had closed the pipe, which it has.
    loop.add_signal_handler(signal.SIGTERM, orders.put_nowait, None)
    threading.Thread(target=listen, name="orders", daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="turngap-caller-") as folder:
        while (order := await orders.get()) is not None:
            if not isinstance(order, Share):
                continue  # said to all callers, also to those that have nothing under way
            try:
                if not await place_share(order, orders, post, Path(folder)):
                    break
            except Exception as error:  # noqa: BLE001  # the driver counts this caller as lost, and says why
                post.send(Failed(f"{type(error).__name__}: {one_line(error)}", by_agent=False))
                break
        post.close()


def main() -> None:
    """Run the caller at this process's pipes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver says when to stop
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get among the messages
    asyncio.run(serve(os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0), stdout))


def _take_recording(folder: Path, scored: ScoredCall) -> bytes | None:
    """Return the recording that the turns name, and remove it here; None without one."""
    audio = next((turn.audio for turn in scored.turns if turn.audio), None)
    if audio is None:
        return None
    data = (folder / audio).read_bytes()
    (folder / audio).unlink()
    return data


if __name__ == "__main__":
    # Not this `__main__`'s own classes: messages name those of the module.
    from turngap.cluster import caller_process

    caller_process.main()
