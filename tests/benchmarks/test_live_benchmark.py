"""Pins the promises that the live benchmark makes of a run's figures."""

from __future__ import annotations

from benchmarks.live import CLEAN_MS, INJECTED, promises

RESULT = {**INJECTED, "witness": {"median_difference_ms": -0.4}}


def test_figures_within_the_tolerance_hold() -> None:
    """The promises of the legs, the total and the recording hold."""
    rows = promises("clean", RESULT, CLEAN_MS)
    assert len(rows) == 5
    assert all(row.holds for row in rows)


def test_a_leg_that_is_off_does_not_hold() -> None:
    """Only the promise of that leg does not hold."""
    rows = promises("clean", RESULT | {"uplink_ms": 66.0}, CLEAN_MS)
    assert [row.holds for row in rows] == [False, True, True, True, True]


def test_a_run_without_figures_keeps_no_promise() -> None:
    """Every promise is there, and none holds."""
    rows = promises("clean", {}, CLEAN_MS)
    assert [row.holds for row in rows] == [False] * 5


def test_on_the_callers_leg_only_the_total_is_promised() -> None:
    """The times of the single legs are not known there."""
    rows = promises("caller's leg", RESULT | {"uplink_ms": None}, CLEAN_MS, legs=False)
    assert len(rows) == 2
    assert all(row.holds for row in rows)
