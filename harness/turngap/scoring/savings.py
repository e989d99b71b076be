"""How much sooner a turn would have been answered had some of its activities taken less time, or none. Pure.

The forward pass of the critical path method. Every activity keeps its duration and its distance to the latest of what
it waited for; so a saving ends where the next path becomes critical, and is never more than the exposed time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from turngap_agent.tracing import Activity

from turngap.model.turn import Bar
from turngap.scoring.critical_path import Interval, find_prerequisites

_NS = 1_000_000


def saved_without_ms(bars: Iterable[Bar], activities: Collection[Activity]) -> float:
    """Return by how much t1 would have been earlier, ms, with `activities` reduced to nothing; 0 if none ran."""
    return saved_by_ms(bars, dict.fromkeys(activities, 0.0))


def saved_by_ms(bars: Iterable[Bar], kept: Mapping[Activity, float]) -> float:
    """Return by how much t1 would have been earlier, ms, had each activity taken the share of its time in `kept`."""
    known = {bar.activity: Interval(round(bar.start_ms * _NS), round(bar.end_ms * _NS)) for bar in bars}
    if known.keys().isdisjoint(kept):
        return 0.0
    moved: dict[Activity, Interval] = {}
    for each in Activity:
        if each not in known:
            continue
        own = known[each]
        waited_for = find_prerequisites(each, known)
        earlier_ns = 0
        if waited_for:
            earlier_ns = max(known[other].end_ns for other in waited_for) - max(
                moved[other].end_ns for other in waited_for
            )
        start_ns = own.start_ns - earlier_ns
        moved[each] = Interval(start_ns, start_ns + round((own.end_ns - own.start_ns) * kept.get(each, 1.0)))
    last = Activity.LEAD_IN if Activity.LEAD_IN in known else max(known, key=lambda each: known[each].end_ns)
    return max(0, known[last].end_ns - moved[last].end_ns) / _NS
