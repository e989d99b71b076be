"""Turns that our own lateness spoilt: which are set aside and called again, and in what order turns are judged. Pure.

The choice depends on the instrument's lateness around the end of speech alone, never on the gap or the outcome: what is
left is then a sample of the agent's turns as it would have been. The order is the plan's, never that of completion: a
slow call that is still under way is waited for, not overtaken.

A turn is called again under a call number of its own: the planned call `i` of `n` for the first time as call `i + n`,
for the second time as `i + 2 n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats as distributions

from turngap.model.plural import plural
from turngap.model.result import Check
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall

LATE_MS = 5.0
"""More lateness than this around the end of speech spoils a turn: the limit of an `invalid` turn."""
MOST_TIMES = 2
"""How often one turn is called again."""
MOST_SHARE = 0.2
"""At most this share of the planned turns is called again; the turns beyond it stay as they are."""
SUSPICIOUS_P = 0.01
"""Of Fisher's exact test that turns set aside were over a limit no more often than the others."""
_TIMES = (
    "turn_gap_ms",
    "turn_gap_frame_ms",
    "perceived_gap_ms",
    "first_byte_ms",
    "substance_gap_ms",
    "perceived_substance_ms",
)


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The planned calls of a run, by their numbers: it is passed on with every call, and stays small."""

    order: tuple[int, ...]
    """The calls with turns to be scored, in the plan's order."""
    n_calls: int
    """All planned calls, warm-up calls included."""
    planned_turns: int

    @classmethod
    def of(cls, calls: Sequence[PlannedCall]) -> Self:
        """Return the plan of these calls."""
        scored = [call for call in calls if call.scored_turns]
        return cls(tuple(call.index for call in scored), len(calls), sum(len(call.scored_turns) for call in scored))

    @property
    def most_repeats(self) -> int:
        """How many calls may be placed again."""
        return max(1, int(MOST_SHARE * self.planned_turns))


def mark_replaced(turns: Sequence[TurnRecord], plan: CallPlan) -> tuple[TurnRecord, ...]:
    """Return the turns, by call: those set aside with `replaced` and without `scored`, the others the reverse.

    Marks that a turn has already do not matter: the result depends on the turns' lateness and the plan alone.
    """
    aside = _sort_out(turns, plan).aside
    return tuple(
        turn.model_copy(update={"replaced": turn.call in aside, "scored": turn.call not in aside, "overshoot": False})
        if _was_scored(turn)
        else turn
        for turn in sorted(turns, key=lambda turn: (turn.call, turn.turn))
    )


def list_repeats(turns: Sequence[TurnRecord], plan: CallPlan) -> tuple[int, ...]:
    """Return the numbers of the calls still to be placed instead of those that were set aside, in the plan's order.

    They are known for certain once every call so far has ended: a call that is under way may be set aside too, and
    comes first then.
    """
    recorded = {turn.call for turn in turns}
    repeats = [index + plan.n_calls for index in sorted(_sort_out(turns, plan).aside)]
    return tuple(index for index in repeats if index not in recorded)


def select_decidable(turns: Sequence[TurnRecord], plan: CallPlan) -> tuple[TurnRecord, ...]:
    """Return the scored turns in the plan's order up to the first that is still to come; those set aside left out."""
    return _sort_out(turns, plan).decidable


def without_lateness(turns: Sequence[TurnRecord]) -> list[TurnRecord]:
    """Return the turns set aside as they were at best: invalid ones as answered, sooner by our lateness."""
    best = []
    for turn in turns:
        if turn.replaced and turn.outcome is Outcome.INVALID:
            late_ms = turn.lateness_around_t0_ms or 0.0
            times = {name: None if (ms := getattr(turn, name)) is None else ms - late_ms for name in _TIMES}
            turn = turn.model_copy(update={**times, "outcome": Outcome.ANSWERED})
        if turn.replaced:
            best.append(turn)
    return best


def check_relation(over_aside: Sequence[bool], over_kept: Sequence[bool]) -> Check | None:
    """Return the check that turns set aside were no worse than the others; None where none was set aside.

    If they were, the agent is slow for the same reason as the instrument is late, and calling such turns again hides
    how slow it is.
    """
    if not over_aside:
        return None
    aside, kept = (f"{sum(over)} of {len(over)}" for over in (over_aside, over_kept))
    called = f"{plural(len(over_aside), 'turn')} called again because the instrument was late"
    p_value = p_of_no_relation(sum(over_aside), len(over_aside), sum(over_kept), len(over_kept))
    if p_value > SUSPICIOUS_P:
        return Check(
            name="called again", ok=True, text=f"{called}; {aside} had been over a limit, of the others {kept}"
        )
    text = (
        f"{called}: {aside} had been over a limit, of the others {kept} (p = {p_value:.2g}); agent and instrument are "
        "late together: give each processor cores of its own"
    )
    return Check(name="called again", ok=False, text=text)


def p_of_no_relation(over_aside: int, aside: int, over_kept: int, kept: int) -> float:
    """Return the p-value of turns set aside being over a limit no more often than the others (Fisher, one-sided)."""
    table = np.array([[over_aside, aside - over_aside], [over_kept, kept - over_kept]])
    return float(distributions.fisher_exact(table, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True)
class _Sorted:
    aside: frozenset[int]
    """The numbers of the calls that are set aside."""
    decidable: tuple[TurnRecord, ...]


def _sort_out(turns: Sequence[TurnRecord], plan: CallPlan) -> _Sorted:
    """Go through the planned calls in their order, then through the first repetitions, then through the second."""
    by_call: dict[int, list[TurnRecord]] = {}
    for turn in turns:
        if _was_scored(turn):
            by_call.setdefault(turn.call, []).append(turn)
    order: Sequence[int] = plan.order
    aside: list[int] = []
    decidable: list[TurnRecord] = []
    gapless = True
    for times in range(MOST_TIMES + 1):
        spoilt = []
        for index in order:
            own = by_call.get(index)
            if own is None:
                gapless = False
            elif times < MOST_TIMES and len(aside) < plan.most_repeats and is_spoilt(own):
                aside.append(index)
                spoilt.append(index + plan.n_calls)
            elif gapless:
                decidable += own
        order = spoilt
    return _Sorted(frozenset(aside), tuple(decidable))


def _was_scored(turn: TurnRecord) -> bool:
    return turn.scored or turn.replaced or turn.overshoot


def is_spoilt(own: Sequence[TurnRecord]) -> bool:
    """Whether the call with these scored turns is called again; one with several is not: its turns are not alone."""
    return len(own) == 1 and (own[0].lateness_around_t0_ms or 0.0) > LATE_MS
