"""When the calls of a point are to start: an open-loop plan, fixed before the first call. Pure.

Nothing that the agent does changes it: a call whose turn has come is placed even if those before it are not over, so
that a server that stalls does not slow its own load down. What is then counted from the planned start is what callers
would have waited ("coordinated omission": G. Tene, *How NOT to Measure Latency*, 2013).

Calls that are not scored, bystanders, keep the load as it is before the first scored call and after the last one.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from turngap.capacity.shapes import LoadShape

NS_PER_S = 1_000_000_000
STEP_S = 0.05
"""So exactly is it found when a ramp allows one line more."""
MOST_CALLS = 1_000_000
"""No plan is longer."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a point: calls under way, or calls a second. One of them is given."""

    calls: int | None = None
    rate_per_s: float | None = None

    def calls_a_second(self, call_s: float) -> float:
        """Return the rate of arrivals where a call lasts `call_s` in the mean (Little's law)."""
        return self.rate_per_s if self.rate_per_s is not None else (self.calls or 0) / call_s

    def calls_under_way(self, call_s: float) -> float:
        """Return the calls under way in the mean where a call lasts `call_s` (Little's law)."""
        return float(self.calls) if self.calls is not None else (self.rate_per_s or 0.0) * call_s

    def __str__(self) -> str:
        if self.calls is not None:
            return f"{self.calls} call{'' if self.calls == 1 else 's'} at once"
        return f"{self.rate_per_s:g} calls a second"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The planned start of one call."""

    start_ns: int
    """After the beginning of the plan."""
    phase: int | None
    """The number of the shape's phase; None for a bystander."""

    @property
    def is_bystander(self) -> bool:
        """Whether it only keeps the load as it is."""
        return self.phase is None


@dataclass(frozen=True, slots=True)
class ArrivalPlan:
    """All planned starts of a point, in their order."""

    arrivals: tuple[Arrival, ...]
    lead_s: float
    """How long after the plan's beginning the shape begins: before that there are bystanders alone."""

    @property
    def scored(self) -> tuple[Arrival, ...]:
        """The starts of calls that are scored."""
        return tuple(arrival for arrival in self.arrivals if not arrival.is_bystander)

    @property
    def seconds(self) -> float:
        """From the beginning to the last start."""
        return max((arrival.start_ns for arrival in self.arrivals), default=0) / NS_PER_S


def plan_arrivals(shape: LoadShape, load: Load, lengths_s: Sequence[float], *, seed: str) -> ArrivalPlan:
    """Return when calls start. `lengths_s` are the planned lengths of the scored calls, in their order.

    A shape with an end has as many scored calls as fit, and begins again with the first length after the last; one
    without has each once.

    Raises:
        ValueError: there are no lengths, or one is not positive.
    """
    if not lengths_s or min(lengths_s) <= 0:
        raise ValueError(f"call lengths {list(lengths_s)[:5]}: positive numbers are needed")
    mean_s, lead_s = sum(lengths_s) / len(lengths_s), max(lengths_s)
    end_s = shape.seconds
    planner: _Lines | _Rate
    if shape.arrivals == "even" and load.calls is not None:
        planner = _Lines(shape, load.calls, mean_s, -lead_s)
    else:
        rng = random.Random(f"{seed}:arrivals") if shape.arrivals == "poisson" else None
        planner = _Rate(shape, load.calls_a_second(mean_s), -lead_s, rng)
    arrivals: list[Arrival] = []
    scored, last_s = 0, 0.0
    most = len(lengths_s) if end_s is None else MOST_CALLS
    until_s = math.inf if end_s is None else end_s + lead_s
    while len(arrivals) < MOST_CALLS + most:
        start_s = planner.next_start_s(until_s)
        if start_s is None or (scored == most and start_s > last_s + lead_s):
            break
        counts = start_s >= 0 and scored < most and (end_s is None or start_s < end_s)
        planner.occupy(start_s, lengths_s[scored % len(lengths_s)] if counts else mean_s)
        arrivals.append(Arrival(round((start_s + lead_s) * NS_PER_S), shape.find_phase(start_s) if counts else None))
        if counts:
            scored, last_s = scored + 1, start_s
    return ArrivalPlan(tuple(arrivals), lead_s)


@dataclass(slots=True)
class _Lines:
    """So many lines, each with one call after the other as planned; their first calls are spread over one call."""

    shape: LoadShape
    calls: int
    call_s: float
    at_s: float
    _ends_s: list[float] = field(default_factory=list)
    _not_before_s: float = -math.inf

    def next_start_s(self, until_s: float) -> float | None:
        """Return the first moment at which a line is free; None if none is before `until_s`."""
        self.at_s = max(self.at_s, self._not_before_s)
        while self.at_s < until_s:
            while self._ends_s and self._ends_s[0] <= self.at_s:
                heapq.heappop(self._ends_s)
            if len(self._ends_s) < self._lines(self.at_s):
                return self.at_s
            if self.shape.is_steady:
                self.at_s = self._ends_s[0]
            else:  # either a line becomes free, or the load allows another one
                self.at_s = min([self.at_s + STEP_S, *self._ends_s[:1]])
        return None

    def occupy(self, start_s: float, length_s: float) -> None:
        """Take a line for a call."""
        heapq.heappush(self._ends_s, start_s + length_s)
        spread_s = self.call_s / max(1, self._lines(start_s)) if start_s < 0 else 0.0
        self._not_before_s = start_s + spread_s

    def _lines(self, at_s: float) -> int:
        load = self.calls * self.shape.load_at(at_s)
        return max(1, math.floor(load + 1e-9)) if load > 0 else 0


@dataclass(slots=True)
class _Rate:
    """Starts by the integral of the rate: at whole numbers of it, or at those of a Poisson process (`rng`)."""

    shape: LoadShape
    rate_per_s: float
    begin_s: float
    rng: random.Random | None
    _sum: float = 0.0
    _bounds: list[float] = field(default_factory=list)
    _sums: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Integrate the rate over each phase, and over the time before the first."""
        self._bounds = [self.begin_s, *self.shape.starts_s()]
        self._sums = [0.0, -self.begin_s * self.shape.load_at(0.0) * self.rate_per_s]
        for phase in self.shape.phases[:-1]:
            mean = (phase.load + phase.end_load) / 2
            self._sums.append(self._sums[-1] + (phase.seconds or 0.0) * mean * self.rate_per_s)

    def next_start_s(self, until_s: float) -> float | None:
        """Return the next start; None if there is none before `until_s`."""
        self._sum += 1.0 if self.rng is None else self.rng.expovariate(1.0)
        at_s = self._invert(self._sum)
        return at_s if at_s < until_s else None

    def occupy(self, start_s: float, length_s: float) -> None:
        """Do nothing: calls do not wait for one another."""

    def _invert(self, total: float) -> float:
        """Return when the integral of the rate reaches `total`; infinite if never."""
        place = bisect_right(self._sums, total) - 1
        rest, start_s = total - self._sums[place], self._bounds[place]
        phase = self.shape.phases[max(0, place - 1)]
        first = (self.shape.load_at(0.0) if place == 0 else phase.load) * self.rate_per_s
        last = first if place == 0 or phase.seconds is None else phase.end_load * self.rate_per_s
        slope = (last - first) / phase.seconds if phase.seconds is not None and place else 0.0
        if abs(slope) < 1e-12:
            return start_s + rest / first if first > 0 else math.inf
        within = first * first + 2 * slope * rest
        at_s = (math.sqrt(within) - first) / slope if within >= 0 else math.inf
        if phase.seconds is None or at_s <= phase.seconds:
            return start_s + at_s
        # Beyond the last phase its end load goes on.
        passed = (first + last) / 2 * phase.seconds
        return start_s + phase.seconds + (rest - passed) / last if last > 0 else math.inf
