"""The figures of a point, from its run, its turns and the log of its calls. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turngap.capacity.arrivals import NS_PER_S, Load
from turngap.capacity.call_log import LoadedCall, measure_under_way
from turngap.capacity.judgement import decide, list_own_faults
from turngap.capacity.points import CallerFigures, PhaseFigures, PointRecord, Recovery, UnderWay
from turngap.capacity.recovery import TimedGap, measure_recovery
from turngap.capacity.saturation import Resources, find_signs, is_saturated
from turngap.capacity.shapes import LoadShape
from turngap.model.records import CallEnd
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.verdict import stats

TURN_GAP, PERCEIVED_GAP = "turn_gap_ms", "perceived_gap_ms"


@dataclass(frozen=True, slots=True)
class CallerUse:
    """CPU time of the processes that placed calls while the load lasted."""

    processes: int
    busiest_core_share: float | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True)
class PointFacts:
    """What is known of a point when its run has ended."""

    name: str
    slug: str
    load: Load
    shape: LoadShape
    attempt: int
    call_s: float
    shape_ns: int
    """When the shape began, on the monotonic clock."""
    record: RunRecord
    turns: Sequence[TurnRecord]
    calls: Sequence[LoadedCall]
    """In the order of their plan, bystanders included."""
    resources: Resources
    caller: CallerUse
    metric: str = TURN_GAP
    budget_ms: float | None = None
    again_ns: int | None = None
    """When calls that our own lateness spoilt were called again, after all others; None if none was."""


def make_point(facts: PointFacts, lowest_p95_ms: float | None = None) -> PointRecord:
    """Return the figures of a point; `lowest_p95_ms` is the p95 of the lowest load that was measured before it."""
    record, scored_calls = facts.record, [call for call in facts.calls if not call.is_bystander]
    numbers = {call.index for call in scored_calls}
    turns = [turn for turn in facts.turns if turn.call in numbers and turn.is_valid and turn.expectation.needs_answer]
    planned = {call.index: call.planned_ns for call in facts.calls}
    # A rate counts no pause before calls that come again, and only the clock of `calls`: turns may have their caller's.
    at_first = [call for call in scored_calls if facts.again_ns is None or call.planned_ns < facts.again_ns]
    ended = {call.index: call.ended_ns for call in at_first}
    turns.sort(key=lambda turn: (planned[turn.call], turn.turn))
    gaps = [find_gap_ms(turn, facts.metric) for turn in turns]
    refused = count_refused(scored_calls, facts.turns)
    gap_ms = stats.latency_figures(gaps)
    signs = find_signs(gaps, refused, len(scored_calls), facts.resources, steady=facts.shape.is_steady)
    under_way = _under_way(facts.calls, at_first)
    length_s = _mean([(call.ended_ns - call.placed_ns) / NS_PER_S for call in scored_calls])
    caller = _caller(facts)
    energy = record.energy
    watts = [part.watts for part in ((energy.gpu, energy.package) if energy is not None else ()) if part is not None]
    shared_s = None if length_s is None or under_way.mean <= 0 else length_s / under_way.mean
    before = [turn for turn in facts.turns if turn.warm_up and not turn.cold and turn.call not in numbers]
    return PointRecord(
        name=facts.name,
        slug=facts.slug,
        calls=facts.load.calls,
        rate_per_s=facts.load.rate_per_s,
        attempt=facts.attempt,
        call_s=facts.call_s,
        decision=decide(record, caller.reasons),
        verdict=record.verdict,
        sentence=record.sentence,
        n_turns=record.n_turns,
        planned_turns=record.planned_turns,
        outcomes=record.outcomes,
        refused=refused,
        calls_placed=len(scored_calls),
        gap_ms=gap_ms,
        from_t0_ms=stats.latency_figures([getattr(turn, facts.metric) if turn.is_good else None for turn in turns]),
        start_delay_ms=stats.latency_figures([call.start_delay_ms for call in scored_calls]),
        first_turn_ms=next((getattr(turn, facts.metric) for turn in facts.turns if turn.cold), None),
        before_load_ms=stats.latency_figures([find_gap_ms(turn, facts.metric) for turn in _earlier(before, facts)]),
        under_way=under_way,
        arrivals_per_s=_rate([call.planned_ns for call in at_first]),
        answered_per_s=_rate([ended[turn.call] for turn in turns if turn.is_good and turn.call in ended]),
        call_length_s=length_s,
        wasted=record.conversation.wasted if record.conversation is not None else None,
        cost_call=None if record.cost is None or shared_s is None else record.cost.an_hour / 3600 * shared_s,
        currency=record.cost.currency if record.cost is not None else "",
        energy_call_j=sum(watts) * shared_s if watts and shared_s is not None else None,
        caller=caller,
        signs=signs,
        saturated=is_saturated(signs, refused, len(scored_calls), gap_ms.p95, lowest_p95_ms),
        phases=_phases(facts, turns) if len(facts.shape.phases) > 1 else (),
        recovery=_recovery(facts, turns, planned),
    )


def find_gap_ms(turn: TurnRecord, metric: str) -> float | None:
    """Return a turn's time from its planned moment on; None where it was not answered as it should."""
    value: float | None = getattr(turn, metric) if turn.is_good else None
    return None if value is None else value + (turn.start_delay_ms or 0.0)


def count_refused(calls: Sequence[LoadedCall], turns: Sequence[TurnRecord]) -> int:
    """Return how many calls the agent did not take: refused, or ended by it before it had answered anything."""
    answered = {turn.call for turn in turns if turn.is_good}
    return sum(
        call.end is CallEnd.REFUSED or (call.end is CallEnd.AGENT_CLOSED and call.index not in answered)
        for call in calls
    )


def _earlier(turns: Sequence[TurnRecord], facts: PointFacts) -> list[TurnRecord]:
    """Return the turns of calls that were placed before the first scored one; warm-up calls have no planned moment."""
    first_ns = min((call.planned_ns for call in facts.calls if not call.is_bystander), default=None)
    planned = {call.index: call.planned_ns for call in facts.calls}
    return [
        turn for turn in turns if first_ns is not None and (turn.call not in planned or planned[turn.call] < first_ns)
    ]


def _under_way(calls: Sequence[LoadedCall], scored: Sequence[LoadedCall]) -> UnderWay:
    """Return the calls under way from the first scored call's planned start to the last one's."""
    if not scored:
        return UnderWay(mean=0.0, peak=0)
    moments = [call.planned_ns for call in scored]
    until_ns = max(moments) if len(scored) > 1 else scored[0].ended_ns
    return measure_under_way(calls, min(moments), until_ns)


def _caller(facts: PointFacts) -> CallerFigures:
    instrument = facts.record.instrument
    late = [(call.placed_ns - call.planned_ns) / 1e6 for call in facts.calls]
    start_p99_ms = float(np.percentile(late, 99)) if late else None
    faults = list_own_faults(facts.record, start_p99_ms)
    sentinel = instrument.sentinel
    return CallerFigures(
        valid=not faults,
        reasons=faults,
        send_p99_ms=instrument.send.p99_ms if instrument.send is not None else None,
        receive_p99_ms=instrument.receive.p99_ms if instrument.receive is not None else None,
        start_p99_ms=start_p99_ms,
        sentinel_answers=sentinel.n if sentinel is not None else 0,
        sentinel_p99_ms=sentinel.p99_abs_ms if sentinel is not None else None,
        sentinel_over_share=sentinel.over_limit_share if sentinel is not None else None,
        processes=facts.caller.processes,
        busiest_core_share=facts.caller.busiest_core_share,
        cpu_s=facts.caller.cpu_s,
    )


def _phases(facts: PointFacts, turns: Sequence[TurnRecord]) -> tuple[PhaseFigures, ...]:
    figures = []
    for place, (phase, (begin_ns, end_ns)) in enumerate(zip(facts.shape.phases, _phase_times_ns(facts), strict=True)):
        calls = [call for call in facts.calls if call.phase == place]
        numbers = {call.index for call in calls}
        seconds = (end_ns - begin_ns) / NS_PER_S
        figures.append(
            PhaseFigures(
                name=phase.name,
                calls=len(calls),
                arrivals_per_s=len(calls) / seconds if seconds > 0 else None,
                under_way=measure_under_way(facts.calls, begin_ns, end_ns),
                gap_ms=stats.latency_figures([find_gap_ms(t, facts.metric) for t in turns if t.call in numbers]),
                refused=count_refused(calls, facts.turns),
            )
        )
    return tuple(figures)


def _phase_times_ns(facts: PointFacts) -> list[tuple[int, int]]:
    """Return when each phase began and ended, on the monotonic clock."""
    if not facts.calls:
        return [(0, 0)] * len(facts.shape.phases)
    last_ns = max(call.planned_ns for call in facts.calls)
    starts_ns = [facts.shape_ns + round(start_s * NS_PER_S) for start_s in facts.shape.starts_s()]
    end_s = facts.shape.seconds
    end_ns = last_ns if end_s is None else starts_ns[0] + round(end_s * NS_PER_S)
    return list(zip(starts_ns, [*starts_ns[1:], max(end_ns, starts_ns[-1])], strict=True))


def _recovery(facts: PointFacts, turns: Sequence[TurnRecord], planned: dict[int, int]) -> Recovery | None:
    name = facts.shape.recovery_of
    if name is None or not turns:
        return None
    place = [phase.name for phase in facts.shape.phases].index(name)
    begin_ns, end_ns = _phase_times_ns(facts)[place]
    gaps = [TimedGap(planned[turn.call] / NS_PER_S, find_gap_ms(turn, facts.metric)) for turn in turns]
    return measure_recovery(gaps, name, begin_ns / NS_PER_S, end_ns / NS_PER_S, facts.budget_ms)


def _rate(moments_ns: Sequence[int]) -> float | None:
    """Return how many moments there are a second; None for fewer than two."""
    if len(moments_ns) < 2 or max(moments_ns) == min(moments_ns):
        return None
    return (len(moments_ns) - 1) / ((max(moments_ns) - min(moments_ns)) / NS_PER_S)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
