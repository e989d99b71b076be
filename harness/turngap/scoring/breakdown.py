"""A turn's gap broken down, as the rows of its record: stages, path and bars, in ms from t0."""

from __future__ import annotations

from turngap_agent.tracing import Activity, Stage

from turngap.clock import NS_PER_MS
from turngap.model.turn import Bar, PathStep, StageTime
from turngap.scoring.critical_path import Activities, critical_path, exposed_ns, slack_ns


def stages(
    activities: Activities | None, t0_ns: int, t1_ns: int | None
) -> tuple[dict[Stage, StageTime] | None, tuple[PathStep, ...]]:
    """Duration, exposed time and slack of each known stage and of UNEXPLAINED, and the path from t0 to t1.

    Endpointing is two activities: its duration is the longer one's (the confirmed end), its slack the lesser.
    None, and no path, where activities or t1 are not known.
    """
    if activities is None or t1_ns is None:
        return None, ()
    path = critical_path(activities, t0_ns, t1_ns)
    exposed, slack = exposed_ns(path), slack_ns(activities, t1_ns)
    rows: dict[Stage, StageTime] = {}
    for stage in Stage:
        own = [activity for activity in activities if activity.stage is stage]
        if own:
            longest_ns = max(min(activities[one].end_ns, t1_ns) - activities[one].start_ns for one in own)
            rows[stage] = StageTime(
                duration_ms=_ms(max(activities[one].end_ns - activities[one].start_ns for one in own)),
                exposed_ms=_ms(exposed[stage]),
                slack_ms=_ms(min(slack[one] for one in own)),
                hidden_ms=_ms(max(0, longest_ns - exposed[stage])),
            )
    unexplained_ms = _ms(exposed[Stage.UNEXPLAINED])
    rows[Stage.UNEXPLAINED] = StageTime(
        duration_ms=unexplained_ms, exposed_ms=unexplained_ms, slack_ms=0.0, hidden_ms=0.0
    )
    steps = (
        PathStep(stage=piece.stage, start_ms=_ms(piece.start_ns - t0_ns), end_ms=_ms(piece.end_ns - t0_ns))
        for piece in path
    )
    return rows, tuple(steps)


def bars(activities: Activities | None, t0_ns: int) -> tuple[Bar, ...]:
    """Each known activity as it ran, in the order of `Activity`."""
    known = activities or {}
    return tuple(
        Bar(
            activity=activity,
            start_ms=_ms(known[activity].start_ns - t0_ns),
            end_ms=_ms(known[activity].end_ns - t0_ns),
        )
        for activity in Activity
        if activity in known
    )


def _ms(ns: int) -> float:
    return ns / NS_PER_MS
