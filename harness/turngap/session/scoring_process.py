"""Scores and saves ended calls in a process of its own.

Scoring and fsync take milliseconds that the callers' event loop does not have while other calls are under way.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
from turngap_agent import tracing
from turngap_agent.errors import HarnessError
from turngap_agent.telephony import FRAME_NS

from turngap.caller.priority import OWN_NICE
from turngap.clock import NS_PER_MS
from turngap.model.records import CallRecord
from turngap.model.turn import TurnRecord
from turngap.processes.span_receiver import CollectedSpans
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call
from turngap.session import network_plan
from turngap.store import recording
from turngap.store.folder import CALLS, RunFolder

Result = TypeVar("Result")
Floats = npt.NDArray[np.float64]
_NICE = 10
"""Added to our own niceness."""


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """A call that has ended, and what it is scored with."""

    folder: Path
    call: CallRecord
    collected: CollectedSpans
    planned: PlannedCall
    network_ms: float
    cold: bool
    """It is the first call to an agent that was just started."""


@dataclass(frozen=True, slots=True)
class ScoredCall:
    """A call's turns, and the instrument's lateness in it."""

    turns: tuple[TurnRecord, ...]
    send_late_ms: Floats
    """How late each frame was sent, shape (frames,)."""
    recv_late_ms: Floats
    """The longest stall of our own event loop during each frame, shape (frames,)."""


def score_and_save(job: ScoringJob) -> ScoredCall:
    """Score a call, write its recording, and append its turns to the run folder.

    Raises:
        HarnessError: the folder can't be written.
    """
    call = job.call
    turns = score_call(call, job.collected.spans, job.planned, network_ms=job.network_ms, cold=job.cold)
    boot = tracing.read_boot_id()
    turns = [network_plan.with_network_name(turn, call.network).model_copy(update={"boot_id": boot}) for turn in turns]
    if job.collected.note:
        turns = [
            turn.model_copy(update={"stages_note": job.collected.note})
            if turn.stages is None and not turn.stages_note
            else turn
            for turn in turns
        ]
    if turns and not call.warm_up and len(call.caller_pcm):
        audio = f"{CALLS}/{call.index:04d}.wav"
        try:
            (job.folder / CALLS).mkdir(exist_ok=True)
            recording.write_wav(job.folder / audio, recording.make_stereo(call))
        except OSError as error:
            raise HarnessError(f"{job.folder / audio}: cannot be written ({error.strerror or error})") from None
        turns = [
            turn.model_copy(update={"audio": audio, "audio_offset_ms": (turn.t0_ns - call.started_ns) / NS_PER_MS})
            for turn in turns
        ]
    if turns:
        RunFolder(job.folder).append(turns)
    return ScoredCall(tuple(turns), send_late_ms(call), recv_late_ms(call))


class ScoringProcess:
    """The process that scores calls, one at a time, at low priority."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_initialise)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        """Start a process, and end it when the block ends."""
        scorer = cls()
        try:
            await scorer.warm_up()
            yield scorer
        finally:
            scorer.close()

    async def warm_up(self) -> None:
        """Start the process before the first call: its imports take a second."""
        await self._do(_nothing)

    async def score_and_save(self, job: ScoringJob) -> ScoredCall:
        """Run `score_and_save` in the process.

        Raises:
            HarnessError: the folder can't be written, or the process died.
        """
        return await self._do(score_and_save, job)

    def close(self) -> None:
        """Let it finish its jobs, and end it."""
        self._pool.shutdown(wait=True)

    async def _do(self, work: Callable[..., Result], *arguments: ScoringJob) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        except BrokenProcessPool:
            raise HarnessError("the scoring process died; the turns it had finished are kept") from None


def send_late_ms(call: CallRecord) -> Floats:
    """Return how late each frame was sent, ms, shape (frames,)."""
    due_ns = call.frame_due_ns(0) + np.arange(len(call.sent_ns)) * FRAME_NS
    return np.asarray((call.sent_ns - due_ns) / NS_PER_MS, np.float64)


def recv_late_ms(call: CallRecord) -> Floats:
    """Return the longest stall of the event loop during each frame, ms, shape (frames,)."""
    late = np.zeros(len(call.sent_ns))
    for at_ns, late_ns in call.stalls:
        first = max(0, int((at_ns - late_ns - call.started_ns) // FRAME_NS))
        last = int((at_ns - call.started_ns) // FRAME_NS) + 1
        late[first:last] = np.maximum(late[first:last], late_ns / NS_PER_MS)
    return late


def _initialise() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.setpriority(os.PRIO_PROCESS, 0, min(19, OWN_NICE + _NICE))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, even by `kill -9`."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _nothing() -> None:
    """Do nothing: the process has started once this has run."""
