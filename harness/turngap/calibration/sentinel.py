"""The sentinel: calls to the reference agent beside a run; their error is the instrument's error under that load.

Only measurements inside a turn's window (from 500 ms before its t0 to its t1) count for that turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from turngap_agent.errors import HarnessError

from turngap.calibration import calibrate
from turngap.calibration.calibrate import ReferenceAgent, Sample
from turngap.calibration.utterances import make_utterances
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.model.records import CallEnd
from turngap.model.turn import TurnRecord
from turngap.scoring.milestones import BEFORE_T0_NS

DELAY_MS = 150.0
_BOOT_ID = "boot_id"
INDEX = 1_000_000
"""No call of a run has this index."""
TURNS_A_CALL = 10
"""Each call has a phase of its own on the 20 ms grid: one that always sends just after another call would be woken by
that one, and be more punctual than it."""


@dataclass(frozen=True, slots=True)
class SentinelErrors:
    """The instrument's error beside a run, ms."""

    n: int
    """Sentinel turns inside the run's windows."""
    n_all: int
    windows: int
    watched: int
    """Windows of turns, and those with a measurement of the sentinel."""
    missed: int
    """Answers inside the windows that the instrument did not find."""
    bias_median_ms: float | None
    sd_ms: float | None
    p95_abs_ms: float | None
    max_abs_error_ms: float | None
    p99_abs_ms: float | None = None
    over_limit_share: float | None = None
    """The share of the n answers whose error is over `calibrate.LARGEST_MS`."""

    @property
    def watched_share(self) -> float | None:
        """Watched windows over windows; None without windows."""
        return self.watched / self.windows if self.windows else None

    def to_json(self) -> dict[str, Any]:
        """Return it as stored in `run.json`."""
        return asdict(self)


class Sentinel:
    """The measurements of a sentinel; `log` stores them, so that a resumed run has them too.

    A measurement counts only for turns of the same boot (`boot_id`): each boot has a clock of its own.
    """

    def __init__(self, log: Path | None = None, boot_id: str = "") -> None:
        self._log, self._boot_id = log, boot_id
        self._samples: list[tuple[str, Sample]] = [] if log is None else _read_log(log)

    def add(self, samples: Sequence[Sample]) -> None:
        """Add the measurements of a call.

        Raises:
            HarnessError: the log can't be written.
        """
        self._samples.extend((self._boot_id, sample) for sample in samples)
        if self._log is None:
            return
        try:
            with self._log.open("a", encoding="utf-8") as file:  # no fsync: the callers share this event loop
                rows = (asdict(sample) | {_BOOT_ID: self._boot_id} for sample in samples)
                file.write("".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise HarnessError(f"{self._log}: cannot be written ({error.strerror or error})") from None

    def errors(self, turns: Iterable[TurnRecord]) -> SentinelErrors:
        """Return the error inside the windows of those turns; to be called when the sentinel has ended."""
        windows = [
            (turn.boot_id, turn.t0_ns - BEFORE_T0_NS, turn.t1_ns if turn.t1_ns is not None else turn.t0_ns)
            for turn in turns
        ]
        matches = [
            (boot, sample)
            for boot, sample in self._samples
            if any(_overlaps(boot, sample, *window) for window in windows)
        ]
        inside = [sample for _, sample in matches]
        errors = calibrate.summarise_errors(sample.error_ms for sample in inside)
        sizes = [abs(sample.error_ms) for sample in inside if sample.error_ms is not None]
        return SentinelErrors(
            n=errors.n,
            n_all=len(self._samples),
            windows=len(windows),
            watched=sum(any(_overlaps(boot, sample, *window) for boot, sample in matches) for window in windows),
            missed=sum(sample.error_ms is None for sample in inside),
            bias_median_ms=errors.bias_median_ms,
            sd_ms=errors.sd_ms,
            p95_abs_ms=float(np.percentile(sizes, 95)) if sizes else None,
            max_abs_error_ms=errors.max_abs_error_ms,
            p99_abs_ms=float(np.percentile(sizes, 99)) if sizes else None,
            over_limit_share=float(np.mean([size > calibrate.LARGEST_MS for size in sizes])) if sizes else None,
        )


def _read_log(log: Path) -> list[tuple[str, Sample]]:
    """Return the measurements from before the run was resumed."""
    return parse_log(log.read_text("utf-8", "replace")) if log.is_file() else []


def parse_log(text: str) -> list[tuple[str, Sample]]:
    """Return the measurements in a sentinel's log, each with its clock's id; torn and foreign lines are ignored."""
    samples = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            row = json.loads(line)
            boot_id = row.pop(_BOOT_ID, "")
            samples.append((boot_id, Sample(**row)))
    return samples


def _overlaps(sample_boot_id: str, sample: Sample, boot_id: str, begin_ns: int, end_ns: int) -> bool:
    return sample_boot_id == boot_id and sample.from_ns <= end_ns and begin_ns <= sample.to_ns


@asynccontextmanager
async def run_sentinel(
    *, clock: Clock, scheduler: Scheduler, seed: int, log: Path | None = None, boot_id: str = ""
) -> AsyncIterator[Sentinel]:
    """Run a sentinel beside the block; its errors are available after it. Its measurements are stored in `log`.

    `boot_id` must be that of the turns' records.

    Raises:
        HarnessError: the reference agent did not start, or the log can't be written.
    """
    reference = await ReferenceAgent.start()
    make_utterances(seed)  # before the run's calls, which share this event loop
    watch = Sentinel(log, boot_id)
    task = asyncio.create_task(_keep_calling(watch, reference, clock, scheduler, seed), name="sentinel")
    try:
        yield watch
    finally:
        task.cancel()
        try:
            await asyncio.wait({task})  # cancelled between two samples; inside a call it returns
            if not task.cancelled():
                task.result()
        finally:
            await reference.stop()


async def _keep_calling(
    watch: Sentinel, reference: ReferenceAgent, clock: Clock, scheduler: Scheduler, seed: int
) -> None:
    index = INDEX
    while True:
        record = await calibrate.place_reference_call(
            reference, TURNS_A_CALL, index, DELAY_MS, clock=clock, scheduler=scheduler, seed=seed
        )
        watch.add(await _collect_samples(calibrate.measure_errors(record, reference)))
        await asyncio.sleep(0)
        if record.end is not CallEnd.COMPLETED:
            return
        index += 1


async def _collect_samples(samples: Iterator[Sample]) -> list[Sample]:
    """Return all samples; between two the run's callers get the event loop, which all at once would block too long."""
    collected = []
    await asyncio.sleep(0)
    for sample in samples:
        collected.append(sample)
        await asyncio.sleep(0)
    return collected
