"""When a run with a budget stops before its planned turns: once its verdict is decided. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.budget import Budget
from turngap.model.turn import TurnRecord
from turngap.verdict import replaced, sequential
from turngap.verdict.replaced import CallPlan


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """The budget's plan, asked after each call that was scored."""

    budget: Budget
    calls: CallPlan

    def decide(self, turns: Sequence[TurnRecord]) -> str:
        """Return what the run's turns so far decide, and after how many of how many; "" while nothing is decided.

        Asked are the turns in the plan's order up to the first that is still to come. A later turn that has ended
        already changes nothing, so the answer does not depend on which of several calls at once ends first.
        """
        decidable = replaced.select_decidable(turns, self.calls)
        decision = sequential.decide_early(decidable, self.budget, self.calls.planned_turns)
        return decision.sentence if decision.stops else ""
