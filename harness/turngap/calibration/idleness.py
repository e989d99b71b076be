"""Measures whether the machine is idle enough for a calibration to show the instrument's error alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from turngap.clock import Clock
from turngap.processes import environment

LOAD, TIMER_MS, STOLEN_SHARE = 0.3, 1.0, 0.001
"""Idle means: the load average per core is under the first, the 99th percentile of our timer's lateness is under the
second, and at most the third of the machine's CPU time was given to others by its host (steal) meanwhile."""
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Idle:
    """The machine before a calibration, and its stolen time during it."""

    load_per_core: float
    timer_p99_ms: float
    stolen_share: float = 0.0
    """Of all cores' time; 0 also where the system does not count it."""

    @property
    def idle(self) -> bool:
        """True if all are within their limits."""
        quiet = self.load_per_core < LOAD and self.timer_p99_ms < TIMER_MS
        return quiet and self.stolen_share <= STOLEN_SHARE


@dataclass(frozen=True, slots=True)
class IdlenessProbe:
    """The machine when a calibration starts."""

    load_per_core: float
    timer_p99_ms: float
    at_ns: int
    stolen_s: float

    def result(self, clock: Clock) -> Idle:
        """Return the result once the calibration has ended."""
        elapsed_s = (clock.now_ns() - self.at_ns) / _NS
        share = (_stolen_s() - self.stolen_s) / (elapsed_s * (os.cpu_count() or 1)) if elapsed_s > 0 else 0.0
        return Idle(self.load_per_core, self.timer_p99_ms, min(1.0, max(0.0, share)))


async def start_probe(clock: Clock) -> IdlenessProbe:
    """Measure the machine's load and the lateness of our own timer on it."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    timer_ms = await environment.measure_timer_late_p99_ms(clock)
    return IdlenessProbe(load, timer_ms, clock.now_ns(), _stolen_s())


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
