"""Pins what the live benchmark promises of a run's figures."""

from __future__ import annotations

from benchmarks.live import CLEAN_MS, INJECTED, promises

FOUND = {**INJECTED, "witness": {"median_difference_ms": -0.4}}


def test_figures_within_the_tolerance_hold() -> None:
    """The legs, the total and the recording."""
    rows = promises("clean", FOUND, CLEAN_MS)
    assert len(rows) == 5
    assert all(row.holds for row in rows)


def test_a_leg_that_is_off_does_not_hold() -> None:
    """And only that row fails."""
    rows = promises("clean", FOUND | {"uplink_ms": 66.0}, CLEAN_MS)
    assert [row.holds for row in rows] == [False, True, True, True, True]


def test_what_was_not_measured_does_not_hold() -> None:
    """A run without figures keeps no promise."""
    assert not any(row.holds for row in promises("clean", {}, CLEAN_MS))


def test_alone_only_the_total_is_promised() -> None:
    """The legs are not told apart there."""
    rows = promises("alone", FOUND | {"uplink_ms": None}, CLEAN_MS, legs=False)
    assert len(rows) == 2
    assert all(row.holds for row in rows)
