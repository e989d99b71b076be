"""Calibration: the ordinary caller measures an agent whose delay is known; what differs is the instrument's own error.

The reference agent answers a set time after the frame that holds the last labelled sample has arrived, and logs when
that frame arrived and when it really answered. The error of a turn is its measured gap, less the part that is
arithmetic (t0 until its frame is complete), less the delay that the reference agent really kept. What remains is our
lateness in sending, both ways through the socket, our lateness in reading, and the onset detector.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from turngap_agent.errors import HarnessError
from turngap_agent.telephony import FRAME_SAMPLES, SAMPLE_RATE

from turngap.calibration.idleness import Idle, observe
from turngap.calibration.reference_agent import ReplyOrder
from turngap.caller.call import place_call
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, Clock
from turngap.model.records import CallRecord, Clip, Spoken
from turngap.processes import child
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.milestones import iter_milestones

START_TIMEOUT_S = 20.0
QUIET_MS = 200
"""The reference agent does not hesitate. The sooner the next turn, the more of a run the sentinel sees: with one in
730 ms nearly each window of 570 ms and more (500 before t0, and the gap) has a measurement in it."""
BIAS_MS, SD_MS, LARGEST_MS = 1.0, 1.0, 5.0
"""What an idle machine must keep: |median error|, its standard deviation, and the largest error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reference agent really did."""

    arrival_ns: int
    sent_ns: int


class ReferenceAgent:
    """The reference agent's process: `python -m turngap.calibration.reference_agent`, its orders and its log."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self.answers: dict[tuple[str, int], Answer] = {}
        self._process = process
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Self:
        """Start it and wait until it serves.

        Raises:
            HarnessError: it did not start.
        """
        process = await child.start(child.python("turngap.calibration.reference_agent"), stderr=None)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
            return cls(process, json.loads(line)["url"])
        except (TimeoutError, ValueError, KeyError):
            await child.stop(process, grace_s=1.0)
            raise HarnessError("the reference agent did not start: nothing can be calibrated") from None

    def order(self, order: ReplyOrder) -> None:
        """Say what to do about one utterance."""
        assert self._process.stdin is not None
        self._process.stdin.write(order.to_json().encode() + b"\n")

    async def stop(self) -> None:
        """End it; its log stays."""
        await child.stop(self._process, grace_s=2.0)
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            self.answers[(said["call_sid"], said["turn"])] = Answer(said["arrival_ns"], said["sent_ns"])


@dataclass(frozen=True, slots=True)
class Sample:
    """The instrument's error in one turn, in both conventions; None where it found no answer."""

    from_ns: int
    to_ns: int
    """From t0 to t1, or to the time when waiting was given up."""
    error_ms: float | None
    """t0 at the sample's own time."""
    frame_error_ms: float | None
    """t0 at the time its frame was sent."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The instrument's error over several turns, ms."""

    n: int
    bias_median_ms: float | None
    sd_ms: float | None
    max_abs_error_ms: float | None


@dataclass(frozen=True, slots=True)
class DelayErrors:
    """One known delay."""

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
        """Every answer found, and every delay measured within the bars."""
        return bool(self.delays) and all(_within_limits(row) for row in self.delays)

    @property
    def bias_ms(self) -> float | None:
        """The median error that is furthest from 0."""
        found = [row.bias_median_ms for row in self.delays if row.bias_median_ms is not None]
        return max(found, key=abs) if found else None

    def to_json(self) -> dict[str, Any]:
        """As printed and as kept in `run.json`."""
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
    """Measure the reference agent, `turns` turns a delay, spread over `calls` simultaneous calls.

    `on_grid`: every utterance ends with a frame, instead of anywhere in one.

    Raises:
        HarnessError: the reference agent did not start.
    """
    quiet = await observe(clock)
    reference = await ReferenceAgent.start()
    gc.collect()
    gc.freeze()  # a collection over all that is loaded by now would take longer than a frame
    try:
        rows = [
            await _one_delay(reference, delay_ms, turns, clock, scheduler, seed, calls, on_grid)
            for delay_ms in delays_ms
        ]
    finally:
        gc.unfreeze()
        await reference.stop()
    return Calibration(tuple(rows), quiet.result(clock))


def make_burst(duration_ms: float, seed: int) -> Clip:
    """Noise at -20 dBFS that ends as sharply as a label: an utterance whose end of speech is beyond doubt."""
    rng = np.random.default_rng(seed)
    pcm = np.clip(rng.normal(0, 3276.7, round(duration_ms * SAMPLE_RATE / 1000)), -32767, 32767).astype(np.int16)
    return Clip(f"burst-{seed}", pcm, 0, None, 0.0, 0.0, "made up: noise", synthetic=True)


def plan_call(
    turns: int, index: int, delay_ms: float, seed: int, *, on_grid: bool = False
) -> tuple[PlannedCall, dict[str, Clip]]:
    """One call of that many bursts, whose ends lie anywhere in a frame or, `on_grid`, at the end of one."""
    rng = np.random.default_rng(seed + index)
    keys = [f"burst-{index}-{turn}" for turn in range(turns)]
    said = tuple(
        Turn(id=key, say="a burst of noise", pause_ms=200, answer_within_ms=round(delay_ms) + 1500) for key in keys
    )
    clips = {key: make_burst(rng.uniform(200, 260), seed + turn) for turn, key in enumerate(keys)}
    return PlannedCall(index, said, probe=False, on_grid=on_grid, quiet_ms=QUIET_MS), clips


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
    """Place one call of so many turns to the reference agent, each answered after `delay_ms`."""
    planned, clips = plan_call(turns, index, delay_ms, seed, on_grid=on_grid)
    await asyncio.sleep(0)  # other calls of this event loop have their turn before the next millisecond of work
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
    """Order the answer to an utterance that has just been placed."""
    chunk = (spoken.end_sample - 1) // FRAME_SAMPLES + 1
    reference.order(ReplyOrder(call_sid, turn, chunk, delay_ms, reply_ms=150.0))


def measure_errors(record: CallRecord, reference: ReferenceAgent) -> Iterator[Sample]:
    """The instrument's error in each turn that the reference agent answered, one by one."""
    for turn, moments in enumerate(iter_milestones(record)):
        answer = reference.answers.get((record.call_sid, turn))
        if answer is None or moments.frame_sent_ns is None:
            continue
        if moments.t1_ns is None:
            if moments.until_ns < record.ended_ns:
                yield Sample(moments.t0_ns, moments.until_ns, None, None)
            continue
        kept_ns = answer.sent_ns - answer.arrival_ns
        error_ns = moments.t1_ns - moments.frame_due_ns - kept_ns
        frame_error_ns = moments.t1_ns - moments.frame_sent_ns - kept_ns
        yield Sample(moments.t0_ns, moments.t1_ns, error_ns / NS_PER_MS, frame_error_ns / NS_PER_MS)


def summarise_errors(values: Iterable[float | None]) -> Errors:
    """Bias (median), standard deviation and largest error."""
    found = np.array([value for value in values if value is not None], np.float64)
    if not len(found):
        return Errors(0, None, None, None)
    sd = float(np.std(found, ddof=1)) if len(found) > 1 else None
    return Errors(len(found), float(np.median(found)), sd, float(np.max(np.abs(found))))


async def _one_delay(
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
    found = [sample for record in records for sample in measure_errors(record, reference)]
    own, frame = summarise_errors(one.error_ms for one in found), summarise_errors(one.frame_error_ms for one in found)
    return DelayErrors(
        delay_ms, own.n, turns - own.n, own.bias_median_ms, own.sd_ms, own.max_abs_error_ms, frame_convention=frame
    )


def _within_limits(row: DelayErrors) -> bool:
    if row.bias_median_ms is None or row.max_abs_error_ms is None or row.missed:
        return False
    spread = 0.0 if row.sd_ms is None else row.sd_ms
    return abs(row.bias_median_ms) <= BIAS_MS and spread <= SD_MS and row.max_abs_error_ms <= LARGEST_MS
