"""How long after a spike an agent answers as before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.capacity.points import Recovery

IN_A_ROW = 5
"""So many calls in a row have to be answered as before: a single quick answer between slow ones is no recovery."""


@dataclass(frozen=True, slots=True)
class TimedGap:
    """A scored turn in a load."""

    planned_s: float
    """When its call was planned, on any clock."""
    gap_ms: float | None
    """From the planned time; None for no good answer."""


def measure_recovery(
    gaps: Sequence[TimedGap], phase: str, begin_s: float, end_s: float, budget_ms: float | None = None
) -> Recovery | None:
    """Return the recovery after the phase from `begin_s` to `end_s`; None where nothing before it was answered.

    A turn counts as before if its gap is at most the slowest one before the phase, or the budget's limit if that is
    larger. The agent has recovered at the first of `IN_A_ROW` such turns in a row, in the order of their plan.
    """
    ordered = sorted(gaps, key=lambda gap: gap.planned_s)
    before = [gap.gap_ms for gap in ordered if gap.planned_s < begin_s and gap.gap_ms is not None]
    if not before:
        return None
    limit_ms = max([*before, *([budget_ms] if budget_ms is not None else [])])
    after = [gap for gap in ordered if gap.planned_s >= end_s]
    as_before = [gap.gap_ms is not None and gap.gap_ms <= limit_ms for gap in after]
    first = next((i for i in range(len(after) - IN_A_ROW + 1) if all(as_before[i : i + IN_A_ROW])), None)
    since = [gap.gap_ms for gap in ordered if gap.planned_s >= begin_s]
    return Recovery(
        after=phase,
        limit_ms=limit_ms,
        calls=IN_A_ROW,
        seconds=None if first is None else max(0.0, after[first].planned_s - end_s),
        worst_ms=None if None in since else max((gap for gap in since if gap is not None), default=None),
    )
