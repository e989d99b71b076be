"""A turn's gap by stage, as in its record: stages, path and bars in ms from t0, and the work of the engines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from turngap_agent import tracing
from turngap_agent.tracing import Activity, Span, Stage

from turngap.clock import to_ms
from turngap.model.turn import Bar, PathStep, StageTime
from turngap.scoring.critical_path import Activities, exposed_by_stage_ns, find_critical_path, slack_by_activity_ns

NONE_UNCERTAIN: Mapping[Stage, float] = MappingProxyType({})


def stage_times(
    activities: Activities | None, t0_ns: int, t1_ns: int | None, uncertain_ms: Mapping[Stage, float] = NONE_UNCERTAIN
) -> tuple[dict[Stage, StageTime] | None, tuple[PathStep, ...]]:
    """Return duration, exposed time and slack of each known stage and of UNEXPLAINED, and the path from t0 to t1.

    Endpointing is two activities: its duration is the longer one's (the confirmed end), its slack the smaller one.
    None, and no path, if activities or t1 are not known. `uncertain_ms`: how far the times of a stage may be off.
    """
    if activities is None or t1_ns is None:
        return None, ()
    path = find_critical_path(activities, t0_ns, t1_ns)
    exposed, slack = exposed_by_stage_ns(path), slack_by_activity_ns(activities, t1_ns)
    rows: dict[Stage, StageTime] = {}
    for stage in Stage:
        own = [activity for activity in activities if activity.stage is stage]
        if own:
            longest_ns = max(
                min(activities[activity].end_ns, t1_ns) - activities[activity].start_ns for activity in own
            )
            rows[stage] = StageTime(
                duration_ms=to_ms(max(activities[activity].end_ns - activities[activity].start_ns for activity in own)),
                exposed_ms=to_ms(exposed[stage]),
                slack_ms=to_ms(min(slack[activity] for activity in own)),
                hidden_ms=to_ms(max(0, longest_ns - exposed[stage])),
                uncertainty_ms=uncertain_ms.get(stage, 0.0),
            )
    unexplained_ms = to_ms(exposed[Stage.UNEXPLAINED])
    rows[Stage.UNEXPLAINED] = StageTime(
        duration_ms=unexplained_ms,
        exposed_ms=unexplained_ms,
        slack_ms=0.0,
        hidden_ms=0.0,
        uncertainty_ms=uncertain_ms.get(Stage.UNEXPLAINED, 0.0),
    )
    steps = (
        PathStep(stage=piece.stage, start_ms=to_ms(piece.start_ns - t0_ns), end_ms=to_ms(piece.end_ns - t0_ns))
        for piece in path
    )
    return rows, tuple(steps)


def activity_bars(activities: Activities | None, t0_ns: int) -> tuple[Bar, ...]:
    """Return each known activity as it ran, in the order of `Activity`."""
    known = activities or {}
    return tuple(
        Bar(
            activity=activity,
            start_ms=to_ms(known[activity].start_ns - t0_ns),
            end_ms=to_ms(known[activity].end_ns - t0_ns),
        )
        for activity in Activity
        if activity in known
    )


@dataclass(frozen=True, slots=True)
class EngineWork:
    """Busy time of the engines in one turn, ms; None if the agent does not report it."""

    heard_ms: float | None
    """For the attempt that was heard."""
    wasted_ms: float | None
    """For the turn's attempts that sent nothing."""


def measure_work(started: Iterable[Span] | None, heard: Span | None) -> EngineWork:
    """Return the work for a turn's attempts.

    Args:
        started: The turn spans of all attempts started in the turn, None if some may be lost.
        heard: The turn span of the attempt that was heard, None if there is none.
    """
    own_ms = None if heard is None else _compute_ms(heard)
    if started is None:
        return EngineWork(own_ms, None)
    discarded = [span for span in started if span is not heard and span.attributes.get(tracing.HEARD) is not True]
    known_ms = [ms for span in discarded if (ms := _compute_ms(span)) is not None]
    if len(known_ms) < len(discarded) or (heard is not None and own_ms is None and not discarded):
        return EngineWork(own_ms, None)
    return EngineWork(own_ms, sum(known_ms))


def _compute_ms(span: Span) -> float | None:
    value = span.attributes.get(tracing.COMPUTE_MS)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
