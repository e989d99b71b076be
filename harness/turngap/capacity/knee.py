"""The knee: the load beyond which callers wait much longer and hardly more of them are served. Pure.

It is where *power*, answered turns a second over p95 of the gap, is largest. Source: L. Kleinrock, *Power and
deterministic rules of thumb for probabilistic problems in computer communications* (ICC 1979), with p95 in place of the
mean; R. Jain, *The Art of Computer Systems Performance Analysis* (1991), chapter 3, calls the load with the largest
power the knee capacity. It depends on no scale of a chart and on no load far beyond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from turngap_agent.documents import FrozenModel

from turngap.capacity.points import PointRecord


class Knee(FrozenModel):
    """The point with the largest power."""

    name: str
    """Of the point."""
    load: float
    """As it was given: calls under way, or calls a second."""
    arrivals_per_s: float | None
    p95_ms: float
    next_load: float | None
    """The next load that was tried: the knee lies between them. Null: power grew up to the highest one, so that the
    knee lies beyond."""

    @property
    def is_found(self) -> bool:
        """Whether a higher load had less power."""
        return self.next_load is not None

    @property
    def estimate(self) -> float | None:
        """The middle, by factors, of the loads that it lies between; None if it was not found."""
        return None if self.next_load is None else math.sqrt(self.load * self.next_load)


def find_knee(points: Sequence[PointRecord]) -> Knee | None:
    """Return the knee of the valid points; None for fewer than two, or without an answer in time at any.

    A point whose p95 is among turns that were not answered has no power.
    """
    valid = sorted((point for point in points if point.is_valid), key=lambda point: point.load)
    powers = [_power(point) for point in valid]
    if len(valid) < 2 or not any(powers):
        return None
    place = powers.index(max(powers))
    best = valid[place]
    assert best.gap_ms.p95 is not None
    return Knee(
        name=best.name,
        load=best.load,
        arrivals_per_s=best.arrivals_per_s,
        p95_ms=best.gap_ms.p95,
        next_load=valid[place + 1].load if place + 1 < len(valid) else None,
    )


def _power(point: PointRecord) -> float:
    if not point.gap_ms.p95 or point.answered_per_s is None:
        return 0.0
    return point.answered_per_s / point.gap_ms.p95
