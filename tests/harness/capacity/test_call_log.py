"""The log of a load's calls, and calls under way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from turngap.capacity.call_log import LoadedCall, append_call, measure_under_way, read_calls
from turngap.model.records import CallEnd
from turngap.store.folder import LOAD

from tests.harness.builders import example_call

S = 1_000_000_000


def call(index: int, start_s: float, end_s: float, phase: int | None = 0) -> LoadedCall:
    start_ns = round(start_s * S)
    return LoadedCall(index, phase, start_ns, start_ns, start_ns, round(end_s * S), CallEnd.COMPLETED)


def test_calls_under_way_are_counted_between_two_moments() -> None:
    """Calls that began before count from the first moment; mean by time, peak by number."""
    calls = [call(0, -5, 2), call(1, 1, 3), call(2, 1.5, 4), call(3, 9, 20)]
    under_way = measure_under_way(calls, 0, 10 * S)
    assert under_way.peak == 3
    assert abs(under_way.mean - (2 + 2 + 2.5 + 1) / 10) < 1e-9
    assert measure_under_way(calls, 5 * S, 5 * S).mean == 0


def test_a_call_is_logged_and_read_again(tmp_path: Path) -> None:
    """In the order of the plan, whatever ended first; a torn line, and one that lacks something, are left out."""
    first, second = call(1, 1, 9), replace(call(2, 2, 3, None), opened_ns=None, end=CallEnd.REFUSED)
    for each in (second, first):
        append_call(tmp_path, each)
    with (tmp_path / LOAD).open("a") as file:
        file.write('{"index": 4}\n{"index": 3, "phase"')
    assert read_calls(tmp_path) == (first, second)
    assert (first.start_delay_ms, second.start_delay_ms) == (0.0, None)
    assert second.is_bystander
    assert read_calls(tmp_path / "nowhere") == ()


def test_only_calls_with_a_planned_moment_are_of_the_load() -> None:
    """Warm-up calls have none. The delay counts from the plan until the stream was open."""
    record = example_call().ends(4000)
    assert LoadedCall.of(record, 0) is None
    planned_ns = record.started_ns - 30_000_000
    timed = replace(record, planned_ns=planned_ns, placed_ns=planned_ns + 1, opened_ns=planned_ns + 7_000_000)
    logged = LoadedCall.of(timed, 0)
    assert logged is not None
    assert logged.start_delay_ms == timed.start_delay_ms == 7.0
