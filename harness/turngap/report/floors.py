"""How far each stage of a run is from its floor, and what reaching the floor could give at most. Pure.

An engine's distance to its floor is measured alone, over whole units of work (`turngap stage`). A stage of a turn is a
part of that work; its floor in the turn is its duration over that part's distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.tracing import Activity

from turngap.model.stage_document import PartFloor, StageDocument, StageFloor
from turngap.model.turn import TurnRecord
from turngap.scoring.savings import saved_by_ms
from turngap.verdict import stats

WORK: Mapping[Activity, tuple[str, tuple[str, ...]]] = {
    Activity.TRANSCRIPTION: ("stt", ()),
    Activity.FIRST_TOKEN: ("llm", ("prefill",)),
    Activity.FIRST_CLAUSE: ("llm", ("decode",)),
    Activity.FIRST_AUDIO: ("tts", ()),
}
"""The engine that works in an activity, and which of its parts; (): all, and so where it does not have that part."""


@dataclass(frozen=True, slots=True)
class FloorRow:
    """One stage of the run beside its floor; ms."""

    activity: Activity
    engine: str
    measured_ms: float
    """Of the part, alone, in the mean of its units."""
    floor_ms: float
    distance: float
    bound: str
    """What the floor is made of."""
    exposed_ms: float
    """The median exposed time in the run."""
    p50_ms: float
    """By how much the median gap would be shorter if the stage were at its floor ..."""
    p95_ms: float
    """... and p95."""


def compute_distances(stages: Mapping[str, StageDocument]) -> dict[Activity, float]:
    """Return measured over floor of each activity whose engine's floor is known, at least 1."""
    known: dict[Activity, float] = {}
    for activity, (stage, parts) in WORK.items():
        floor = stages[stage].floor if stage in stages else None
        if floor is not None:
            part = _find_part(floor, parts)
            known[activity] = max(1.0, (part.distance if part is not None else None) or floor.distance)
    return known


def list_floors(stages: Mapping[str, StageDocument], turns: Sequence[TurnRecord]) -> tuple[FloorRow, ...]:
    """Return a row for each stage whose floor is known, in path order; () where no turn has stages.

    `turns` are the valid ones.
    """
    explained = [turn for turn in turns if turn.is_good and turn.bars and turn.stages and turn.turn_gap_ms is not None]
    known = compute_distances(stages)
    if not explained or not known:
        return ()
    rows = []
    for activity, distance in known.items():
        stage, parts = WORK[activity]
        floor = stages[stage].floor
        assert floor is not None
        part = _find_part(floor, parts)
        times = [(turn.stages or {}).get(activity.stage) for turn in explained]
        exposed = [time.exposed_ms for time in times if time is not None]
        p50_ms, p95_ms = _gain(explained, {activity: 1 / distance})
        rows.append(
            FloorRow(
                activity=activity,
                engine=stages[stage].engine,
                measured_ms=part.measured_ms if part is not None else floor.measured_ms,
                floor_ms=part.floor_ms if part is not None else floor.ms,
                distance=distance,
                bound=part.bound if part is not None else _largest_bound(floor),
                exposed_ms=stats.percentile(exposed, 0.5) or 0.0,
                p50_ms=p50_ms,
                p95_ms=p95_ms,
            )
        )
    return tuple(rows)


def compute_gain_of_all_floors(
    stages: Mapping[str, StageDocument], turns: Sequence[TurnRecord]
) -> tuple[float, float] | None:
    """Return how much the median gap and p95 would be shorter if every stage with a known floor were at it; or None."""
    explained = [turn for turn in turns if turn.is_good and turn.bars and turn.turn_gap_ms is not None]
    known = compute_distances(stages)
    if not explained or not known:
        return None
    return _gain(explained, {activity: 1 / distance for activity, distance in known.items()})


def _gain(turns: Sequence[TurnRecord], kept: Mapping[Activity, float]) -> tuple[float, float]:
    gaps = [turn.turn_gap_ms or 0.0 for turn in turns]
    rest = [gap - saved_by_ms(turn.bars, kept) for gap, turn in zip(gaps, turns, strict=True)]
    median, tail = ((stats.percentile(gaps, q) or 0.0) - (stats.percentile(rest, q) or 0.0) for q in (0.5, 0.95))
    return median, tail


def _find_part(floor: StageFloor, names: Sequence[str]) -> PartFloor | None:
    return next((floor.parts[name] for name in names if name in floor.parts and floor.parts[name].distance), None)


def _largest_bound(floor: StageFloor) -> str:
    longest = max(floor.parts.values(), key=lambda part: part.floor_ms, default=None)
    return longest.bound if longest is not None else ""
