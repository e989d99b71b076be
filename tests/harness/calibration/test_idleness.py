"""Idle is a quiet machine whose host leaves its cores alone."""

from __future__ import annotations

import os

import psutil
import pytest
from turngap.calibration import idleness
from turngap.calibration.idleness import Idle, IdlenessProbe


@pytest.mark.parametrize(
    ("seen", "idle"),
    [
        (Idle(0.1, 0.2, 0.0), True),
        (Idle(0.3, 0.2, 0.0), False),
        (Idle(0.1, 1.0, 0.0), False),
        (Idle(0.1, 0.2, 0.002), False),
    ],
)
def test_each_of_the_three_can_make_it_busy(seen: Idle, idle: bool) -> None:
    """Load, a late timer, and stolen time."""
    assert seen.idle is idle


class _At:
    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns

    def now_ns(self) -> int:
        return self.at_ns


def test_stolen_time_is_a_share_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One core-second of two seconds on all cores; a kernel that does not count it has taken nothing."""
    times = psutil.cpu_times()
    cores = os.cpu_count() or 1
    monkeypatch.setattr(idleness, "_stolen_s", lambda: 6.0)
    begun = IdlenessProbe(0.1, 0.2, at_ns=0, stolen_s=5.0)
    assert begun.result(_At(2_000_000_000)).stolen_share == pytest.approx(1 / (2 * cores))  # type: ignore[arg-type]
    assert begun.result(_At(0)).stolen_share == 0  # type: ignore[arg-type]
    monkeypatch.undo()
    assert idleness._stolen_s() >= getattr(times, "steal", 0.0)
