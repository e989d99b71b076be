"""The mean delay at a given rate of false cut-offs, as eot-bench defines it; pure.

Each detector scores a pause 200 ms after it began. A policy answers a pause as soon as its score is at least a
threshold, but not before an action delay, and at the latest at a timeout. A pause inside a turn that lasts longer than
that is a false cut-off; the rate counts pauses of 0.2 to 5 s. The delay is that silence after the true ends, its mean
over all of them. The operating point at 5 % is the smallest mean delay of all policies of the grid with a rate of at
most 5 %. (github.com/livekit/eot-bench: README, "Policy Sweep and Operating Points", and its metrics.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from turngap_agent.endpointing.waiting import silence_ms
from turngap_agent.profile.pace import PauseLengths

SCORED_AT_MS = 200
LONGEST_HOLD_MS = 5000
ACTION_DELAYS_MS = tuple(range(200, 1001, 100))
TIMEOUTS_MS = tuple(range(1000, 3501, 500))
THRESHOLDS = tuple(round(step / 100, 2) for step in range(101))
RATES = tuple(float(rate) for rate in np.geomspace(0.005, 0.95, 60))
"""Of the policy that waits by the probability: the rates of cut-offs that it is asked to keep."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredPause:
    """A pause of 200 ms and more, or a true end, and a detector's score there."""

    length_ms: float | None
    """None for a true end."""
    score: float
    """The probability, 0-1, that the turn is over."""
    own_ms: tuple[float, ...] = ()
    """The speaker's pauses of 200 ms and more before it."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One policy's rate of false cut-offs and mean delay."""

    cut_off_rate: float
    mean_delay_ms: float
    policy: str


def sweep_thresholds(pauses: Sequence[ScoredPause]) -> list[OperatingPoint]:
    """Return all policies of eot-bench's grid. A detector without scores, all alike, is one that waits for silence."""
    return list(_thresholds(pauses))


def sweep_waits(pauses: Sequence[ScoredPause], lengths: PauseLengths) -> list[OperatingPoint]:
    """Return the policies that wait by the probability and the speaker's pauses (`waiting`), for rates and timeouts."""
    points = []
    for rate in RATES:
        needed = [silence_ms(one.score, rate, SCORED_AT_MS, lengths, one.own_ms) for one in pauses]
        for timeout_ms in TIMEOUTS_MS:
            waits = np.minimum(needed, timeout_ms)
            points.append(_point(pauses, waits, f"rate {rate:.3f}, timeout {timeout_ms} ms"))
    return points


def sweep_silences(pauses: Sequence[ScoredPause]) -> list[OperatingPoint]:
    """Return the policies of silence alone: one wait for every pause, in steps of 10 ms."""
    waits = range(SCORED_AT_MS, TIMEOUTS_MS[-1] + 1, 10)
    return [_point(pauses, np.full(len(pauses), float(wait)), f"{wait} ms of silence") for wait in waits]


def best_delay(points: Sequence[OperatingPoint], at_most: float) -> OperatingPoint | None:
    """Return the policy with the smallest mean delay whose rate of false cut-offs is at most that; None for none."""
    allowed = [point for point in points if point.cut_off_rate <= at_most]
    return min(allowed, key=lambda point: point.mean_delay_ms, default=None)


def lowest_rate(points: Sequence[OperatingPoint], within_ms: float) -> float | None:
    """Return the lowest rate of false cut-offs of the policies with at most that mean delay; None for none."""
    return min((point.cut_off_rate for point in points if point.mean_delay_ms <= within_ms), default=None)


def front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the policies that no other one beats in both, by rising delay."""
    best: list[OperatingPoint] = []
    for point in sorted(points, key=lambda one: (one.mean_delay_ms, one.cut_off_rate)):
        if not best or point.cut_off_rate < best[-1].cut_off_rate:
            best.append(point)
    return best


def _thresholds(pauses: Sequence[ScoredPause]) -> Iterator[OperatingPoint]:
    scores = np.array([one.score for one in pauses])
    for threshold in THRESHOLDS:
        fires = scores >= threshold
        for delay_ms in ACTION_DELAYS_MS:
            for timeout_ms in TIMEOUTS_MS:
                waits = np.where(fires, min(delay_ms, timeout_ms), timeout_ms).astype(np.float64)
                yield _point(pauses, waits, f"threshold {threshold:g}, delay {delay_ms}, timeout {timeout_ms} ms")


def _point(pauses: Sequence[ScoredPause], waits_ms: Floats, policy: str) -> OperatingPoint:
    lengths = np.array([np.nan if one.length_ms is None else one.length_ms for one in pauses])
    held = (lengths >= SCORED_AT_MS) & (lengths <= LONGEST_HOLD_MS)
    ends = np.isnan(lengths)
    rate = float(np.mean(lengths[held] > waits_ms[held])) if held.any() else 0.0
    return OperatingPoint(rate, float(np.mean(waits_ms[ends])) if ends.any() else 0.0, policy)
