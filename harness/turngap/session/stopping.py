"""When a run with a budget stops before its planned turns: at the first turn that decides its verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.budget import Budget
from turngap.model.stopping import StoppingPlan
from turngap.model.turn import TurnRecord
from turngap.verdict import replaced, sequential
from turngap.verdict.replaced import CallPlan


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict of a run is decided."""

    turns: int
    """By so many scored turns, in the plan's order; those beyond them change nothing."""
    sentence: str


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """The stopping plan of a budget, for the calls of one run."""

    budget: Budget
    plan: StoppingPlan
    calls: CallPlan
    weightless: bool = False
    """The agent's weights are random: word errors are not judged."""

    def decide(self, turns: Sequence[TurnRecord], *, asked: int = 0) -> Decided | None:
        """Return what the run's turns so far decide; None while nothing is decided.

        The plan is asked at every turn in the plan's order, up to the first that is still to come; `asked` turns were
        asked before, and decided nothing. So the answer does not depend on which of several calls at once ends first,
        nor on how many ended together.
        """
        decidable = replaced.select_decidable(turns, self.calls)
        for n_turns in range(asked + 1, len(decidable) + 1):
            decision = sequential.decide_early(
                decidable[:n_turns], self.budget, self.calls.planned_turns, self.plan, weightless=self.weightless
            )
            if decision.is_made:
                return Decided(n_turns, decision.sentence)
        return None

    def has_all(self, turns: Sequence[TurnRecord]) -> bool:
        """Return whether all planned turns were called."""
        return len(replaced.select_decidable(turns, self.calls)) >= self.calls.planned_turns


def select_judged(
    turns: Sequence[TurnRecord], rule: StoppingRule | None, decided: Decided | None
) -> tuple[TurnRecord, ...]:
    """Return the turns by which the run is judged: those that decided it, or all; and all that are not scored."""
    if rule is None or decided is None:
        return tuple(turns)
    keys = {(turn.call, turn.turn) for turn in replaced.select_decidable(turns, rule.calls)[: decided.turns]}
    return tuple(turn for turn in turns if not turn.scored or (turn.call, turn.turn) in keys)
