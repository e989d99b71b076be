"""Scores and saves ended calls in a process of its own, `python -m turngap.session.scoring_process`.

Scoring and fsync take milliseconds that the callers' event loop does not have while other calls are under way. The
process is no `multiprocessing` child: such a one imports the user's `__main__`, and so runs a script a second time.
Jobs and answers are pickles on its stdin and stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from turngap_agent import tracing
from turngap_agent.errors import HarnessError

from turngap.caller.lateness import Floats, recv_late_ms, send_late_ms
from turngap.clock import NS_PER_MS
from turngap.findings import find_in_call
from turngap.model.records import CallRecord
from turngap.model.span_mapping import SpanMapping
from turngap.model.turn import TurnRecord
from turngap.processes import child
from turngap.processes.span_receiver import CollectedSpans
from turngap.scenario import PlannedCall
from turngap.scoring.mapped import MappedCall
from turngap.scoring.score import score_call
from turngap.session import network_plan
from turngap.session.stopping import Decided, StoppingRule
from turngap.store import recording
from turngap.store.folder import CALLS, TURNS, RunFolder, read_turns
from turngap.verdict import replaced

_NICE = 10
"""Added to the user's niceness."""


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
    stopping: StoppingRule | None = None
    """When the run stops before its planned turns; None where it never does."""
    mapping: SpanMapping | None = None
    """What the spans of another framework's agent mean."""
    same_host: bool = True
    """Whether that agent's wall clock is this host's."""


@dataclass(frozen=True, slots=True)
class ScoredCall:
    """A call's turns, and the instrument's lateness in it."""

    turns: tuple[TurnRecord, ...]
    send_late_ms: Floats
    """How late each frame was sent, shape (frames,)."""
    recv_late_ms: Floats
    """The longest stall of our own event loop during each frame, shape (frames,)."""
    decided: Decided | None = None
    """What the run's turns so far decide."""


class Scorer:
    """Scores calls one after the other, and remembers the turns of runs that stop once their verdict is decided."""

    def __init__(self) -> None:
        self._turns: dict[Path, dict[tuple[int, int], TurnRecord]] = {}
        self._asked: dict[Path, int] = {}
        """By how many turns of the run nothing is decided."""

    def score_and_save(self, job: ScoringJob) -> ScoredCall:
        """Score a call and save it, and decide whether the run can stop.

        Raises:
            HarnessError: the folder can't be written.
        """
        scored = score_and_save(job)
        if job.stopping is None:
            return scored
        turns = self._turns.get(job.folder)
        if turns is None:  # a resumed run has turns of earlier sessions
            turns = {(turn.call, turn.turn): turn for turn in read_turns(job.folder / TURNS)[0]}
            self._turns[job.folder] = turns
        turns |= {(turn.call, turn.turn): turn for turn in scored.turns}
        known = list(turns.values())
        decided = job.stopping.decide(known, asked=self._asked.get(job.folder, 0))
        self._asked[job.folder] = len(replaced.select_decidable(known, job.stopping.calls))
        return replace(scored, decided=decided)


def score_and_save(job: ScoringJob) -> ScoredCall:
    """Score a call, write its recording, and append its turns to the run folder.

    Raises:
        HarnessError: the folder can't be written.
    """
    call = job.call
    mapped = None if job.mapping is None else MappedCall(job.mapping, job.collected.foreign, job.same_host)
    turns = score_call(call, job.collected.spans, job.planned, network_ms=job.network_ms, cold=job.cold, mapped=mapped)
    turns = [*(turn.model_copy(update={"findings": find_in_call(call, turns)}) for turn in turns[:1]), *turns[1:]]
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


_Answer = ScoredCall | Exception | None
"""Of a job; None says that the process is ready."""


class ScoringProcess:
    """The process that scores calls, one at a time, at low priority. Make it in the main thread (`child`)."""

    def __init__(self) -> None:
        command = child.leashed(child.python_command("turngap.session.scoring_process"), nice=_NICE)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child.plain_environment(),
            start_new_session=True,
        )
        self._thread = ThreadPoolExecutor(1, "scoring")
        """Passes jobs on and waits for the answers, off the event loop."""

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

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def warm_up(self) -> None:
        """Wait until the process has started, before the first call: its imports take a second."""
        await self._ask(None)

    async def score_and_save(self, job: ScoringJob) -> ScoredCall:
        """Run `score_and_save` in the process; a job once passed on is done even if the caller is cancelled.

        Raises:
            HarnessError: the folder can't be written, or the process died.
        """
        scored = await self._ask(job)
        assert scored is not None
        return scored

    def close(self) -> None:
        """Let it finish its jobs, and end it."""
        self._thread.shutdown(wait=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    async def _ask(self, job: ScoringJob | None) -> ScoredCall | None:
        loop = asyncio.get_running_loop()
        answer = await asyncio.shield(loop.run_in_executor(self._thread, self._exchange, job))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _exchange(self, job: ScoringJob | None) -> _Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Arrays are written as they are: to copy a long call's would hold the interpreter, and so the callers' thread.
        arrays: list[pickle.PickleBuffer] = []
        message = pickle.dumps(job, protocol=5, buffer_callback=arrays.append)
        try:
            pickle.dump((message, [array.raw().nbytes for array in arrays]), self._process.stdin)
            for array in arrays:
                self._process.stdin.write(array.raw())
            self._process.stdin.flush()
            answer: _Answer = pickle.load(self._process.stdout)  # of our own process
        except (OSError, EOFError, pickle.UnpicklingError):
            return HarnessError("the scoring process died; the turns it had finished are kept")
        return answer


def _serve() -> None:
    """Do the jobs on stdin, one after the other, until it is closed: by `close`, or by the end of the instrument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    scorer = Scorer()
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get among the answers
    while True:
        try:
            message, sizes = pickle.load(jobs)  # of the process that started this one
        except EOFError:
            return
        job: ScoringJob | None = pickle.loads(message, buffers=[bytearray(jobs.read(size)) for size in sizes])
        answer: _Answer
        try:
            answer = None if job is None else scorer.score_and_save(job)
        except Exception as error:  # noqa: BLE001  # it is raised where the job comes from
            error.add_note(traceback.format_exc())
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    # Not this `__main__`'s own function: its classes would be others than those of the process at the pipe's other end.
    from turngap.session import scoring_process

    scoring_process._serve()
