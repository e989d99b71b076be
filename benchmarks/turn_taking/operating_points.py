"""The mean delay at a given rate of false cut-offs, as eot-bench defines it; pure.

Each detector scores a pause 200 ms after it began. A policy answers a pause as soon as its score is at least a
threshold, but not before an action delay, and at the latest at a timeout. A pause inside a turn that lasts longer than
that is a false cut-off; the rate counts pauses of 0.2 to 5 s. The delay is that silence after the true ends, its mean
over all of them. The operating point at 5 % is the smallest mean delay of all policies of the grid with a rate of at
most 5 %. (github.com/livekit/eot-bench: README, "Policy Sweep and Operating Points", and its metrics.)

So the policy is chosen on the very speech that it is reported on, the best of thousands, which flatters it. `hold_out`
chooses it for each speaker on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from turngap_agent.endpointing.waiting import silence_ms
from turngap_agent.profile.pace import PauseLengths

SCORED_AT_MS = 200
LONGEST_HOLD_MS = 5000
ACTION_DELAYS_MS = tuple(range(200, 1001, 100))
TIMEOUTS_MS = tuple(range(1000, 3501, 500))
THRESHOLDS = tuple(round(step / 100, 2) for step in range(101))
RATES = tuple(float(rate) for rate in np.geomspace(0.005, 10, 60))
"""Of the policy that waits by the probability: how many cut-offs it takes for one right answer."""
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
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Tallies:
    """What a policy's figures are made of, by speaker, in the order of their names; each of shape (speakers,)."""

    holds: Floats
    """Pauses inside turns."""
    cut_offs: Floats
    ends: Floats
    delays_ms: Floats
    """The sum over the ends."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One policy's rate of false cut-offs and mean delay."""

    cut_off_rate: float
    mean_delay_ms: float
    policy: str
    tallies: Tallies = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What policies give that were chosen for each speaker on the others."""

    cut_off_rate: float
    mean_delay_ms: float
    speakers: int


class _Pauses:
    """Pauses as arrays, made once for all policies."""

    def __init__(self, pauses: Sequence[ScoredPause]) -> None:
        lengths = np.array([np.nan if one.length_ms is None else one.length_ms for one in pauses], np.float64)
        self.held = np.flatnonzero((lengths >= SCORED_AT_MS) & (lengths <= LONGEST_HOLD_MS))
        self.ends = np.flatnonzero(np.isnan(lengths))
        self.lengths = lengths[self.held]
        names = sorted({one.speaker for one in pauses})
        of = np.array([names.index(one.speaker) for one in pauses], np.int64)
        self.of_held, self.of_ends, self.speakers = of[self.held], of[self.ends], max(1, len(names))
        self.n_held, self.n_ends = self.count(self.of_held), self.count(self.of_ends)

    def count(self, speakers: npt.NDArray[np.int64], weights: Floats | None = None) -> Floats:
        """Return the sum of the weights, or the number, of each speaker."""
        return np.bincount(speakers, weights, self.speakers).astype(np.float64)

    def judge(self, waits_ms: Floats, policy: str) -> OperatingPoint:
        """Return the figures of a policy that waits so long at each pause."""
        cut = self.count(self.of_held, (self.lengths > waits_ms[self.held]).astype(np.float64))
        delays = self.count(self.of_ends, waits_ms[self.ends])
        rate = float(cut.sum() / len(self.held)) if len(self.held) else 0.0
        delay = float(delays.sum() / len(self.ends)) if len(self.ends) else 0.0
        return OperatingPoint(rate, delay, policy, Tallies(self.n_held, cut, self.n_ends, delays))


def sweep_thresholds(pauses: Sequence[ScoredPause]) -> list[OperatingPoint]:
    """Return all policies of eot-bench's grid. A detector without scores, all alike, is one that waits for silence."""
    return list(_thresholds(pauses))


def sweep_waits(pauses: Sequence[ScoredPause], lengths: PauseLengths) -> list[OperatingPoint]:
    """Return the policies that wait by the probability and the speaker's pauses (`waiting`), for rates and timeouts."""
    points, arrays = [], _Pauses(pauses)
    for rate in RATES:
        needed = [silence_ms(one.score, rate, SCORED_AT_MS, lengths, one.own_ms) for one in pauses]
        for timeout_ms in TIMEOUTS_MS:
            waits = np.minimum(needed, timeout_ms)
            points.append(arrays.judge(waits, f"rate {rate:.3f}, timeout {timeout_ms} ms"))
    return points


def sweep_silences(pauses: Sequence[ScoredPause]) -> list[OperatingPoint]:
    """Return the policies of silence alone: one wait for every pause, in steps of 10 ms."""
    waits = range(SCORED_AT_MS, TIMEOUTS_MS[-1] + 1, 10)
    arrays = _Pauses(pauses)
    return [arrays.judge(np.full(len(pauses), float(wait)), f"{wait} ms of silence") for wait in waits]


def best_delay(points: Sequence[OperatingPoint], at_most: float) -> OperatingPoint | None:
    """Return the policy with the smallest mean delay whose rate of false cut-offs is at most that; None for none."""
    allowed = [point for point in points if point.cut_off_rate <= at_most]
    return min(allowed, key=lambda point: point.mean_delay_ms, default=None)


def hold_out(points: Sequence[OperatingPoint], at_most: float) -> HeldOut | None:
    """Return the figures of the policies that `best_delay` would choose for each speaker on all the others.

    None with one speaker alone, or where no policy would be chosen for one of them. The rate may exceed `at_most`: that
    is what choosing on other speakers costs.
    """
    if not points or len(points[0].tallies.holds) < 2:
        return None
    holds, ends = points[0].tallies.holds, points[0].tallies.ends
    cut_offs = np.stack([point.tallies.cut_offs for point in points])
    delays = np.stack([point.tallies.delays_ms for point in points])
    chosen_cut_offs = chosen_delays = 0.0
    for speaker in range(len(holds)):
        other_holds, other_ends = holds.sum() - holds[speaker], ends.sum() - ends[speaker]
        if not other_holds or not other_ends:
            return None
        rates = (cut_offs.sum(axis=1) - cut_offs[:, speaker]) / other_holds
        means = (delays.sum(axis=1) - delays[:, speaker]) / other_ends
        if not (rates <= at_most).any():
            return None
        best = int(np.where(rates <= at_most, means, np.inf).argmin())
        chosen_cut_offs += float(cut_offs[best, speaker])
        chosen_delays += float(delays[best, speaker])
    return HeldOut(chosen_cut_offs / float(holds.sum()), chosen_delays / float(ends.sum()), len(holds))


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
    scores, arrays = np.array([one.score for one in pauses]), _Pauses(pauses)
    for threshold in THRESHOLDS:
        fires = scores >= threshold
        for delay_ms in ACTION_DELAYS_MS:
            for timeout_ms in TIMEOUTS_MS:
                waits = np.where(fires, min(delay_ms, timeout_ms), timeout_ms).astype(np.float64)
                yield arrays.judge(waits, f"threshold {threshold:g}, delay {delay_ms}, timeout {timeout_ms} ms")
