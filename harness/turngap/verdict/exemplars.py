"""Which turns stand for a run: the representative one, nearest the medians, and the worst. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap_agent.tracing import Stage

from turngap.model.turn import TurnRecord
from turngap.verdict import stats
from turngap.verdict.rates import to_be_answered
from turngap.verdict.summary import good, scored


def gaps(turns: Sequence[TurnRecord]) -> list[float | None]:
    """Perceived gaps of the turns that were to be answered; every outcome but "answered" counts as later than any."""
    return [turn.perceived_gap_ms if good(turn) else None for turn in turns if to_be_answered(turn)]


def representative(turns: Sequence[TurnRecord]) -> TurnRecord | None:
    """The answered turn whose gap and exposed times are nearest the medians, in ms added up; one with stages if any."""
    answered = [turn for turn in scored(turns) if good(turn) and turn.turn_gap_ms is not None]
    pool = [turn for turn in answered if turn.stages] or answered
    if not pool:
        return None
    vectors = [_vector(turn) for turn in pool]
    medians = [stats.percentile(column, 0.5) or 0.0 for column in zip(*vectors, strict=True)]
    away = [sum(abs(a - b) for a, b in zip(vector, medians, strict=True)) for vector in vectors]
    return pool[away.index(min(away))]


def worst(turns: Sequence[TurnRecord]) -> TurnRecord | None:
    """The scored turn with the longest gap that was heard, whatever its outcome; unanswered ones have no path."""
    heard = [turn for turn in scored(turns) if turn.turn_gap_ms is not None]
    pool = [turn for turn in heard if turn.path] or heard
    return max(pool, key=lambda turn: turn.turn_gap_ms or 0.0, default=None)


def _vector(turn: TurnRecord) -> list[float]:
    stages = turn.stages or {}
    return [turn.turn_gap_ms or 0.0, *(stages[stage].exposed_ms if stage in stages else 0.0 for stage in Stage)]
