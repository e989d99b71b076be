"""The sentinel's log: a run keeps its measurements, whichever session made them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from turngap.calibration import calibrate, sentinel
from turngap.calibration.calibrate import Sample
from turngap.calibration.sentinel import Sentinel, _collect_samples
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.scoring.milestones import BEFORE_T0_NS
from turngap_agent.errors import HarnessError

from tests.harness.report_builders import turn

SECOND_NS = 1_000_000_000


def sample(from_s: float, error_ms: float | None) -> Sample:
    return Sample(int(from_s * SECOND_NS), int((from_s + 0.2) * SECOND_NS), error_ms, error_ms)


def test_a_resumed_run_keeps_the_sentinels_earlier_samples(tmp_path: Path) -> None:
    """A second sentinel on the same log resumes where the first was killed; its torn last line is left out."""
    log = tmp_path / "sentinel.jsonl"
    Sentinel(log).add([sample(1, 0.5), sample(2, None)])
    log.write_text(log.read_text() + '{"from_ns": 12')
    resumed = Sentinel(log)
    turns = [turn(t0_ns=SECOND_NS, t1_ns=2 * SECOND_NS), turn(t0_ns=60 * SECOND_NS, t1_ns=61 * SECOND_NS)]
    before = resumed.errors(turns)
    assert (before.n, before.n_all, before.missed, before.watched_share) == (1, 2, 1, 0.5)
    assert before.bias_median_ms == 0.5


def test_after_a_reboot_samples_and_turns_meet_within_their_own_boot(tmp_path: Path) -> None:
    """The clock begins anew: the same time on it is another time. What was measured before is its turns' own."""
    log = tmp_path / "sentinel.jsonl"
    Sentinel(log, "first").add([sample(1, 0.5)])
    resumed = Sentinel(log, "second")
    resumed.add([sample(60, 2.0)])
    assert [json.loads(line)["boot_id"] for line in log.read_text().splitlines()] == ["first", "second"]
    at_1_s = {"t0_ns": SECOND_NS, "t1_ns": 2 * SECOND_NS}
    at_60_s = {"t0_ns": 60 * SECOND_NS, "t1_ns": 61 * SECOND_NS}
    errors = resumed.errors([turn(boot_id="first", **at_1_s), turn(boot_id="second", **at_60_s)])
    assert (errors.n, errors.watched, errors.bias_median_ms) == (2, 2, 1.25)
    apart = resumed.errors([turn(boot_id="second", **at_1_s), turn(boot_id="first", **at_60_s), turn(**at_1_s)])
    assert (apart.n, apart.watched) == (0, 0)


def test_without_a_log_nothing_is_written(tmp_path: Path) -> None:
    """A sentinel outside a run keeps its samples to itself; only those inside the windows count."""
    watch = Sentinel()
    watch.add([sample(1, 1.0), sample(100, 9.0)])
    errors = watch.errors([turn(t0_ns=SECOND_NS + BEFORE_T0_NS, t1_ns=2 * SECOND_NS)])
    assert (errors.n, errors.n_all, errors.max_abs_error_ms) == (1, 2, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    """The run ends with one line that names the file, not with samples that are silently lost."""
    with pytest.raises(HarnessError, match=r"sentinel\.jsonl: cannot be written"):
        Sentinel(tmp_path / "gone" / "sentinel.jsonl").add([sample(1, 1.0)])


def test_a_run_may_end_between_two_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentinel is stopped wherever it is; the run it watched ends in good order."""
    stopped: list[bool] = []

    class ReferenceServer:
        async def stop(self) -> None:
            stopped.append(True)

    async def start() -> ReferenceServer:
        return ReferenceServer()

    async def call(*_: object, **__: object) -> None:
        """A call that is over at once."""

    async def run() -> None:
        clock = SystemClock()
        async with (
            Scheduler(clock).running() as scheduler,
            sentinel.run_sentinel(clock=clock, scheduler=scheduler, seed=1),
        ):
            for _ in range(20):
                await asyncio.sleep(0)

    monkeypatch.setattr(calibrate.ReferenceAgent, "start", start)
    monkeypatch.setattr(calibrate, "place_reference_call", call)
    monkeypatch.setattr(calibrate, "measure_errors", lambda *_: itertools.repeat(sample(1, 0.0)))
    asyncio.run(run())
    assert stopped == [True]


def test_the_callers_have_the_loop_between_two_samples() -> None:
    """Finding a call's samples takes milliseconds in all: a caller's frame waits for one of them, never for all."""
    turns_of_the_loop: list[int] = []

    async def run() -> list[Sample]:
        passed = 0

        def samples() -> Iterator[Sample]:
            for n in range(5):
                turns_of_the_loop.append(passed)
                yield sample(n, 0.0)

        async def caller() -> None:
            nonlocal passed
            while True:
                passed += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(caller())
        kept = await _collect_samples(samples())
        beside.cancel()
        return kept

    assert asyncio.run(run()) == [sample(n, 0.0) for n in range(5)]
    assert all(later > earlier for earlier, later in itertools.pairwise(turns_of_the_loop))
