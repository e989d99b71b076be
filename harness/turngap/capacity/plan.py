"""What a capacity run has to do: its loads or its search, and the plan of each point; checked before it starts."""

from __future__ import annotations

import math
import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile

from turngap.capacity import shapes
from turngap.capacity.arrivals import MOST_CALLS, ArrivalPlan, Load, plan_arrivals
from turngap.capacity.lengths import CallLengths
from turngap.capacity.shapes import LoadShape
from turngap.corpus.clips import Corpus
from turngap.model.budget import Budget, Metric
from turngap.model.span_mapping import SpanMapping
from turngap.scenario import PlannedCall, Scenario
from turngap.scenario.calls import plan_calls
from turngap.session import network_plan
from turngap.session import plan as runs
from turngap.session.request import Options, Request

SCENARIO = "gate"
"""The default: distinct utterances, one scored turn a call, as a bound needs them."""
LOADS = (1, 2, 4, 8)
LEAST_TURNS = 60
"""Turns at each load without a budget: the fewest with a bound on p95, and one to spare ..."""
TURNS_A_LINE = 3
"""... and at a high load so many on each line."""
MOST_AT_ONCE = 10_000
MOST_A_SECOND = 10_000.0
HIGHEST_SEARCHED = 64
MOST_CALLERS = 256
SPARE_FILES = 100
"""Files that are open beside the calls' sockets."""


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """A capacity run whose arguments have been checked."""

    base: Request
    """A run of the same scenario and agent; each point is one."""
    shape: LoadShape
    loads: tuple[Load, ...]
    """In ascending order; () for a search."""
    first: int
    """The load of a search's first step ..."""
    ceiling: int
    """... and its highest; 0: there is no search."""
    budget: Budget | None
    """What is judged, or for a shape with phases only drawn."""
    turns: int | None
    keeps_limit: bool
    """The user set how many calls the agent takes; otherwise as many as a load needs."""
    goes_on: bool = False
    """Higher loads are measured even after one that saturates the agent."""
    callers: int | None = None
    """So many processes place the calls; None: as many as they need."""

    @property
    def searches(self) -> bool:
        """Whether the most calls that hold the budget are searched for."""
        return self.ceiling > 0

    @property
    def judged(self) -> Budget | None:
        """The budget that decides; None where the load changes, or comes again with the same utterances."""
        return self.budget if self.shape.is_steady else None

    @property
    def metric(self) -> Metric:
        """The time that points are drawn by: the perceived gap if the budget limits it, else the turn gap."""
        limited = {limit.metric for limit in self.budget.limits} if self.budget is not None else set()
        return Metric.PERCEIVED_GAP if Metric.PERCEIVED_GAP in limited else Metric.TURN_GAP

    @property
    def budget_ms(self) -> float | None:
        """The budget's limit on that time."""
        limits = self.budget.limits if self.budget is not None else ()
        return next((limit.at_most for limit in limits if limit.metric == self.metric), None)


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """A point to be measured."""

    load: Load
    request: Request
    arrivals: ArrivalPlan
    call_s: float
    """Planned mean length of its calls."""


def plan_capacity(
    scenario: Scenario | Path | str = SCENARIO,
    *,
    calls: str | Sequence[int] | None = None,
    rate: str | Sequence[float] | None = None,
    search: bool = False,
    most: int | None = None,
    shape: LoadShape | Path | str = shapes.STEADY,
    profile: Profile | Path | str | None = None,
    overrides: tuple[str, ...] = (),
    url: str | None = None,
    spans: SpanMapping | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    goes_on: bool = False,
    callers: int | None = None,
    options: Options,
) -> CapacityRequest:
    """Check everything the user gave; scenario, profile, URL and budget as for a run.

    Raises:
        UsageError: (or a subclass) something does not fit; nothing was started.
    """
    chosen = shape if isinstance(shape, LoadShape) else shapes.load_shape(str(shape))
    if sum([calls is not None, rate is not None, search]) > 1:
        raise UsageError("--calls, --rate and --search each say which loads are tried: give one of them")
    if search and budget is None:
        raise UsageError("--search looks for the most calls that hold a budget: give --budget, such as edge500")
    if search and not chosen.is_steady:
        raise UsageError(f"--search needs a load that stays the same: shape {chosen.name!r} changes; drop --shape")
    if most is not None and not search:
        raise UsageError("--most is the highest load of a --search: give both, or --calls alone")
    if most is not None and not 1 <= most <= MOST_AT_ONCE:
        raise UsageError(f"--most {most}: 1 to {MOST_AT_ONCE:,} calls at once can be tried")
    if callers is not None and not 1 <= callers <= MOST_CALLERS:
        raise UsageError(f"--callers {callers}: 1 to {MOST_CALLERS} processes can place the calls")
    if callers is not None and options.ray:
        raise UsageError("--callers with --ray: each node of the cluster has one caller; drop --callers")
    loads = () if search else parse_loads(calls, rate)
    base = runs.plan_run(
        scenario, profile=profile, overrides=overrides, url=url, budget=budget, spans=spans, options=options
    )
    if chosen.seconds is not None and options.n_turns is not None:
        raise UsageError(
            f"--turns: shape {chosen.name!r} lasts {chosen.seconds:g} s, with as many turns as fit: drop it"
        )
    if len(base.networks) > 1:
        raise UsageError("a load is measured under one network: give the scenario one, or none")
    if base.mapping is not None and base.mapping.call.attribute is None:
        raise UsageError(
            f"mapping {base.mapping.name!r} cannot tell whose spans are whose: name the call's id as `call.attribute`"
        )
    declared = base.profile.limits.simultaneous_calls if base.profile is not None else 1
    request = CapacityRequest(
        base=base,
        shape=chosen,
        loads=loads,
        first=min(declared, most or HIGHEST_SEARCHED) if search else 0,
        ceiling=(most or HIGHEST_SEARCHED) if search else 0,
        budget=base.budget,
        turns=options.n_turns,
        keeps_limit=any(override.startswith("limits.simultaneous_calls=") for override in overrides),
        goes_on=goes_on,
        callers=callers,
    )
    _check_files(max([request.ceiling, *(load.calls or 0 for load in loads)]) * chosen.highest)
    return request


def parse_loads(calls: str | Sequence[int] | None, rate: str | Sequence[float] | None) -> tuple[Load, ...]:
    """Return the loads of `--calls` or `--rate`, by default `LOADS`.

    Raises:
        UsageError: one is no number, not in the possible range, or not larger than the one before.
    """
    if rate is not None:
        rates = [_parse_rate(part) for part in _split(rate)]
        _check_ascending("--rate", rates)
        return tuple(Load(rate_per_s=value) for value in rates)
    numbers = [_parse_calls(part) for part in _split(LOADS if calls is None else calls)]
    _check_ascending("--calls", numbers)
    return tuple(Load(calls=value) for value in numbers)


def plan_point(request: CapacityRequest, load: Load, corpus: Corpus, lengths: CallLengths) -> PlannedPoint:
    """Return the run of one point: its calls and when they start.

    Raises:
        UsageError: the shape brings too many calls, or a rate too many at once for this process.
    """
    base, shape = request.base, request.shape
    at_once = max(1, math.ceil((load.calls or 1) * shape.highest))
    turns = request.turns
    if turns is None and request.judged is None:
        turns = max(LEAST_TURNS, TURNS_A_LINE * at_once)
    calls = _plan_calls(base, corpus, turns)
    scored = [call for call in calls if not call.warm_up]
    arrivals = plan_arrivals(shape, load, [lengths.planned_s(call) for call in scored], seed=f"{base.seed}:{load}")
    if shape.seconds is not None:
        if len(arrivals.scored) >= MOST_CALLS:  # the plan was cut off there
            raise UsageError(
                f"shape {shape.name!r} with {load} has {MOST_CALLS:,} calls or more in its {shape.seconds:g} s: "
                "lower the load, or shorten the shape"
            )
        wanted = max(1, len(arrivals.scored))
        calls = _plan_calls(base, corpus, wanted * base.scenario.call_size)[: len(calls) - len(scored) + wanted]
        scored = [call for call in calls if not call.warm_up]
    call_s = sum(map(lengths.planned_s, scored)) / len(scored)
    mean = load.calls_under_way(call_s) * shape.highest
    if load.rate_per_s is not None:
        _check_files(_count_at_once(mean))
    lines = max(1, math.ceil(mean))
    return PlannedPoint(
        load=load,
        request=replace(
            base,
            scenario=corpus.scenario.model_copy(update={"simultaneous_calls": lines}),
            profile=_with_limits(base.profile, mean, lines, keep=request.keeps_limit),
            calls=calls,
            budget=request.judged,
        ),
        arrivals=arrivals,
        call_s=call_s,
    )


def _plan_calls(base: Request, corpus: Corpus, turns: int | None) -> tuple[PlannedCall, ...]:
    return network_plan.assign_networks(plan_calls(corpus.scenario, seed=base.seed, n_turns=turns), base.networks)


def _with_limits(profile: Profile | None, mean: float, lines: int, *, keep: bool) -> Profile | None:
    """Return the profile with an agent that takes the calls of a load, unless the user set how many it takes."""
    if profile is None:
        return None
    limits = profile.limits
    taken = limits.simultaneous_calls if keep else max(limits.simultaneous_calls, _count_at_once(mean))
    changed = limits.model_copy(update={"simultaneous_calls": taken, "gated_calls": lines})
    return profile.model_copy(update={"limits": changed})


def _count_at_once(mean: float) -> int:
    """Return how many calls may be under way where `mean` are on average.

    Arrivals by chance need more than the mean: four standard deviations of a Poisson distribution.
    """
    return math.ceil(mean + 4 * math.sqrt(mean) + 4)


def _split(given: str | Sequence[object]) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else list(map(str, given))
    return [part.strip() for part in parts]


def _parse_calls(part: str) -> int:
    try:
        value = int(part)
    except ValueError:
        raise UsageError(
            f"--calls {part!r}: whole numbers of calls are expected, separated by commas, as in 1,2,4,8"
        ) from None
    if not 1 <= value <= MOST_AT_ONCE:
        raise UsageError(f"--calls {value}: 1 to {MOST_AT_ONCE:,} calls at once can be tried")
    return value


def _parse_rate(part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        raise UsageError(f"--rate {part!r}: calls a second are expected, separated by commas, as in 0.5,1,2") from None
    if not 0 < value <= MOST_A_SECOND:
        raise UsageError(f"--rate {part}: more than 0 and at most {MOST_A_SECOND:,.0f} calls a second can be tried")
    return value


def _check_ascending(option: str, values: Sequence[float]) -> None:
    for before, after in pairwise(values):
        if after <= before:
            raise UsageError(
                f"{option}: {after:g} after {before:g}: loads are tried from the lowest to the highest, each once"
            )


def _check_files(at_once: float) -> None:
    """Raises: UsageError: this process may not open so many sockets."""
    needed = math.ceil(at_once) + SPARE_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        raise UsageError(
            f"{math.ceil(at_once):,} calls at once need {needed:,} open files, and this process may have {allowed:,}: "
            f"`ulimit -n {needed}`, or fewer calls"
        )
