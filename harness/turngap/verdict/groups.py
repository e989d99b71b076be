"""The figures of groups of turns: by stratum, and by depth in the call. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turngap.model.figures import GroupFigures
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import stats

FIRST, LATER = "first turn", "later turns"


def group_by_stratum(turns: Sequence[TurnRecord]) -> dict[str, GroupFigures]:
    """Return the figures of each stratum of valid turns; {} if there is only one."""
    return _group(turns, lambda turn: turn.stratum, sorted({turn.stratum for turn in turns}))


def group_by_depth(turns: Sequence[TurnRecord]) -> dict[str, GroupFigures]:
    """Return the figures of valid turns that are the first of their call, and of later ones; {} if all are alike."""
    return _group(turns, lambda turn: LATER if turn.turn else FIRST, (FIRST, LATER))


def _group(
    turns: Sequence[TurnRecord], name: Callable[[TurnRecord], str], names: Sequence[str]
) -> dict[str, GroupFigures]:
    timed = [turn for turn in turns if turn.expectation.needs_answer]
    groups = {each: [turn for turn in timed if name(turn) == each] for each in names}
    filled = {each: members for each, members in groups.items() if members}
    return {each: _figures(members) for each, members in filled.items()} if len(filled) > 1 else {}


def _figures(turns: Sequence[TurnRecord]) -> GroupFigures:
    answered = [turn.turn_gap_ms for turn in turns if turn.is_good]
    return GroupFigures(
        turn_gap_ms=stats.latency_figures([turn.turn_gap_ms if turn.is_good else None for turn in turns]),
        answered=len(answered),
        answered_p50_ms=stats.percentile(answered, 0.5),
        answered_p95_ms=stats.percentile(answered, 0.95),
        cut_off_rate=stats.rate(sum(turn.outcome is Outcome.CUT_OFF for turn in turns), len(turns)),
    )
