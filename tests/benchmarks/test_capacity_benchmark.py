"""The benchmark of capacity: its agent's queue, its loads, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from turngap.capacity.folder import CapacityRecord

from benchmarks import capacity
from benchmarks.queue_server import TokenBucket
from tests.harness.capacity.builders import latency, point, record


def test_the_bucket_serves_at_its_rate_and_no_faster() -> None:
    """Turns that come at once wait for one another; nothing is saved up while none comes."""
    bucket = TokenBucket(rate_per_s=4.0, queue=100)
    assert [bucket.take(10.0) for _ in range(4)] == pytest.approx([10.0, 10.25, 10.5, 10.75])
    assert [bucket.take(50.0) for _ in range(2)] == pytest.approx([50.0, 50.25])


def test_a_full_queue_answers_nobody() -> None:
    """More than so many wait already; a while later it answers again."""
    bucket = TokenBucket(rate_per_s=1.0, queue=2)
    taken = [bucket.take(0.0) for _ in range(6)]
    assert [token is None for token in taken] == [False, False, False, True, True, True]
    assert bucket.take(5.0) == 5.0


def test_the_loads_know_nothing_of_the_rate() -> None:
    """None is it, and they lie on both sides."""
    rates = capacity.list_rates()
    assert capacity.RATE_PER_S not in rates
    assert min(rates) < capacity.RATE_PER_S * 0.95
    assert max(rates) > capacity.RATE_PER_S * 1.05


@dataclass
class Measured:
    """As much of a capacity run as the promises need."""

    record: CapacityRecord


@pytest.mark.parametrize(
    ("knee_at", "open_ms", "holds"), [(5, 2400.0, True), (5, None, True), (3, 2400.0, False), (5, 400.0, False)]
)
def test_a_knee_elsewhere_or_a_tail_without_the_stall_is_no_success(
    knee_at: int, open_ms: float | None, holds: bool
) -> None:
    """Each promise can fail."""
    points = [point(calls, 300.0 if calls <= knee_at else 3000.0) for calls in (3, 5, 7)]
    measured = cast("Any", Measured(record(*points)))
    promises = capacity.list_promises(measured, 5.9, point(1, open_ms), 350.0)
    assert all(promise.holds is not False for promise in promises) == holds


def test_an_agent_that_answers_nobody_shows_no_stall() -> None:
    """Its p95 is beyond any limit, but so is its median."""
    points = [point(calls, 300.0 if calls <= 5 else 3000.0) for calls in (3, 5, 7)]
    measured = cast("Any", Measured(record(*points)))
    promises = capacity.list_promises(measured, 5.9, point(1, None, gap_ms=latency(None, None)), 350.0)
    shown = next(promise for promise in promises if promise.promise.startswith("an open loop"))
    assert shown.holds is False
