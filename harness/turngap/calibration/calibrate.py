"""Calibration: the ordinary caller measures an agent whose delay is known; the difference is the instrument's error.

The caller speaks with a voice whose last sample is known, labelled as every clip is. The reference agent answers a set
time after the arrival of the frame with the last labelled sample: with line noise of up to 20 ms, and then a voice. It
logs when that frame arrived, when it answered, and which sample of the answer is the voice's first. The error of a turn
is its measured gap, less the true one: from the voice's last sample until the frame is complete (which is arithmetic),
the delay that was logged, and the noise before the answer's voice. What remains is all that the instrument adds: the
error of the label, lateness in sending, both ways through the socket, lateness in reading, and the error of the onset.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from turngap_agent.errors import HarnessError
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.calibration.idleness import Idle, start_probe
from turngap.calibration.reference_agent import ReplyOrder
from turngap.calibration.utterances import KnownClip, make_utterances, plan_call
from turngap.caller.call import place_call
from turngap.caller.priority import short_collections
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, Clock
from turngap.model.records import CallRecord, Spoken
from turngap.processes import child
from turngap.scoring.milestones import iter_milestones

START_TIMEOUT_S = 20.0
BIAS_MS, SD_MS, LARGEST_MS = 0.5, 1.0, 5.0
"""Limits on an idle machine: |median error|, its standard deviation, and the largest error."""


@dataclass(frozen=True, slots=True)
class LoggedReply:
    """When the reference agent received the last speech frame and sent its reply."""

    arrival_ns: int
    sent_ns: int
    onset_sample: int = 0
    """The first sample of the reply's voice."""


class ReferenceAgent:
    """The process of the reference agent, which gets orders and logs its replies."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self.replies: dict[tuple[str, int], LoggedReply] = {}
        self._process = process
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Self:
        """Start it and wait until it accepts calls.

        Raises:
            HarnessError: it did not start.
        """
        process = await child.start_child(child.python_command("turngap.calibration.reference_agent"), stderr=None)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
            return cls(process, json.loads(line)["url"])
        except (TimeoutError, ValueError, KeyError):
            await child.stop_child(process, grace_s=1.0)
            raise HarnessError("the reference agent did not start; without it nothing can be calibrated") from None

    def order(self, order: ReplyOrder) -> None:
        """Order the reply to an utterance."""
        assert self._process.stdin is not None
        self._process.stdin.write(order.to_json().encode() + b"\n")

    async def stop(self) -> None:
        """Stop it; `replies` stays."""
        await child.stop_child(self._process, grace_s=2.0)
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            reply: dict[str, Any] = json.loads(line)
            self.replies[(reply["call_sid"], reply["turn"])] = LoggedReply(
                reply["arrival_ns"], reply["sent_ns"], reply["onset_sample"]
            )


@dataclass(frozen=True, slots=True)
class Sample:
    """The instrument's error in one turn, in both conventions of t0; None if it found no answer."""

    from_ns: int
    to_ns: int
    """From t0 to t1; without an answer to the end of waiting."""
    error_ms: float | None
    """With t0 at the time of the last labelled sample: the whole error of `turn_gap_ms`."""
    frame_error_ms: float | None
    """With t0 at the time when that sample's frame was sent, without the label and without lateness in sending."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The instrument's error over several turns, ms."""

    n: int
    bias_median_ms: float | None
    sd_ms: float | None
    max_abs_error_ms: float | None


@dataclass(frozen=True, slots=True)
class DelayErrors:
    """The instrument's error at one known delay."""

    delay_ms: float
    n: int
    missed: int
    """Answers that the instrument did not find."""
    bias_median_ms: float | None
    sd_ms: float | None
    max_abs_error_ms: float | None
    frame_convention: Errors


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of `turngap calibrate`."""

    delays: tuple[DelayErrors, ...]
    idle: Idle

    @property
    def valid(self) -> bool:
        """True if every answer was found and the errors of every delay are within the limits."""
        return bool(self.delays) and all(_within_limits(row) for row in self.delays)

    @property
    def bias_ms(self) -> float | None:
        """The median error of the delay where it is furthest from 0."""
        biases = [row.bias_median_ms for row in self.delays if row.bias_median_ms is not None]
        return max(biases, key=abs) if biases else None

    def to_json(self) -> dict[str, Any]:
        """Return it as printed and as stored in `run.json`."""
        rows = [asdict(row) for row in self.delays]
        return {"valid": self.valid, "delays": rows, "idle": asdict(self.idle) | {"idle": self.idle.idle}}


async def calibrate(
    delays_ms: Sequence[float],
    turns: int,
    *,
    clock: Clock,
    scheduler: Scheduler,
    seed: int = 1,
    calls: int = 1,
    on_grid: bool = False,
) -> Calibration:
    """Measure the reference agent: `turns` turns for each delay, spread over `calls` simultaneous calls.

    `on_grid`: every utterance ends at the end of a frame instead of anywhere in one.

    Raises:
        HarnessError: the reference agent did not start.
    """
    probe = await start_probe(clock)
    reference = await ReferenceAgent.start()
    make_utterances(seed)
    try:
        with short_collections():
            rows = [
                await _measure_delay(reference, delay_ms, turns, clock, scheduler, seed, calls, on_grid)
                for delay_ms in delays_ms
            ]
    finally:
        await reference.stop()
    return Calibration(tuple(rows), probe.result(clock))


async def place_reference_call(
    reference: ReferenceAgent,
    turns: int,
    index: int,
    delay_ms: float,
    *,
    clock: Clock,
    scheduler: Scheduler,
    seed: int,
    on_grid: bool = False,
) -> CallRecord:
    """Place a call of so many turns to the reference agent, which answers each after `delay_ms`."""
    planned, clips = plan_call(turns, index, delay_ms, seed, on_grid=on_grid)
    await asyncio.sleep(0)  # lets other calls of this event loop run before the next millisecond of work
    return await place_call(
        reference.url,
        planned,
        clips,
        clock=clock,
        scheduler=scheduler,
        seed=seed,
        auth_token="",
        on_spoken=lambda sid, turn, spoken: send_order(reference, sid, turn, spoken, delay_ms),
    )


def send_order(reference: ReferenceAgent, call_sid: str, turn: int, spoken: Spoken, delay_ms: float) -> None:
    """Order the reply to an utterance that is being spoken."""
    chunk = (spoken.end_sample - 1) // FRAME_SAMPLES + 1
    reference.order(ReplyOrder(call_sid, turn, chunk, delay_ms, reply_ms=150.0))


def measure_errors(record: CallRecord, reference: ReferenceAgent) -> Iterator[Sample]:
    """Yield the instrument's error in each turn that the reference agent answered."""
    for turn, moments in enumerate(iter_milestones(record)):
        reply = reference.replies.get((record.call_sid, turn))
        if reply is None or moments.frame_sent_ns is None:
            continue
        if moments.t1_ns is None:
            if moments.until_ns < record.ended_ns:
                yield Sample(moments.t0_ns, moments.until_ns, None, None)
            continue
        delay_ns = reply.sent_ns - reply.arrival_ns + reply.onset_sample * NS_PER_SAMPLE
        clip = record.spoken[turn].clip
        label_ns = clip.label_error_samples * NS_PER_SAMPLE if isinstance(clip, KnownClip) else 0
        error_ns = moments.t1_ns - moments.frame_due_ns - delay_ns - label_ns
        frame_error_ns = moments.t1_ns - moments.frame_sent_ns - delay_ns
        yield Sample(moments.t0_ns, moments.t1_ns, error_ns / NS_PER_MS, frame_error_ns / NS_PER_MS)


def summarise_errors(values: Iterable[float | None]) -> Errors:
    """Return bias (median), standard deviation and largest error; None values are ignored."""
    errors = np.array([value for value in values if value is not None], np.float64)
    if not len(errors):
        return Errors(0, None, None, None)
    sd = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
    return Errors(len(errors), float(np.median(errors)), sd, float(np.max(np.abs(errors))))


async def _measure_delay(
    reference: ReferenceAgent,
    delay_ms: float,
    turns: int,
    clock: Clock,
    scheduler: Scheduler,
    seed: int,
    calls: int,
    on_grid: bool,
) -> DelayErrors:
    shares = [turns // calls + (index < turns % calls) for index in range(calls)]

    records = await asyncio.gather(
        *(
            place_reference_call(
                reference, share, index, delay_ms, clock=clock, scheduler=scheduler, seed=seed, on_grid=on_grid
            )
            for index, share in enumerate(shares)
            if share
        )
    )
    samples = [sample for record in records for sample in measure_errors(record, reference)]
    own = summarise_errors(sample.error_ms for sample in samples)
    frame = summarise_errors(sample.frame_error_ms for sample in samples)
    return DelayErrors(
        delay_ms, own.n, turns - own.n, own.bias_median_ms, own.sd_ms, own.max_abs_error_ms, frame_convention=frame
    )


def _within_limits(row: DelayErrors) -> bool:
    if row.bias_median_ms is None or row.max_abs_error_ms is None or row.missed:
        return False
    spread = 0.0 if row.sd_ms is None else row.sd_ms
    return abs(row.bias_median_ms) <= BIAS_MS and spread <= SD_MS and row.max_abs_error_ms <= LARGEST_MS
