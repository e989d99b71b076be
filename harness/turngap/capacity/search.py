"""The search for the most calls that hold a budget: doubling until a load does not hold, then halving. Pure.

Each step is a run of its own, decided by the budget's sequential plan: at a load that does not hold it is shown to hold
with a probability of at most 5 % (the budget's level). Such an error at one of the steps can make the answer too high,
so its probability is at most the sum over the loads that were tried; the answer states it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from turngap_agent.documents import FrozenModel

from turngap.capacity.points import Decision
from turngap.model.plural import plural

MOST_ATTEMPTS = 2
"""A load at which the instrument was late is tried once more."""


class Step(FrozenModel):
    """One step of a search."""

    calls: int
    decision: Decision
    sentence: str
    """Why, by the run's verdict."""
    turns: int
    """After so many it was decided."""


class Answer(FrozenModel):
    """What a search has found."""

    calls: int
    """The most calls that were shown to hold; 0: not even one was."""
    beyond: int | None
    """The fewest that were not; null: the search ended at its highest load."""
    beyond_decision: Decision | None
    error: float
    """The probability that `calls` is too high is at most this: the budget's level at each load that was tried."""
    sentence: str


@dataclass(slots=True)
class Search:
    """A search under way."""

    first: int
    """The load of the first step."""
    ceiling: int
    """No load is higher."""
    level: float = 0.05
    steps: list[Step] = field(default_factory=list)

    def next_calls(self) -> int | None:
        """Return the load of the next step; None: the search is over."""
        if self.steps and self.steps[-1].decision is Decision.INVALID:
            calls = self.steps[-1].calls
            if self._attempts(calls) < MOST_ATTEMPTS:
                return calls
        held, beyond = self._held(), self._beyond()
        if beyond is not None:
            return (held + beyond) // 2 if beyond - held > 1 else None
        if held >= self.ceiling:
            return None
        return min(self.ceiling, max(self.first, 2 * held))

    def add(self, step: Step) -> None:
        """Take the result of the step that was asked for."""
        self.steps.append(step)

    def answer(self, budget: str) -> Answer:
        """Return what the steps so far have shown about that budget."""
        held, beyond = self._held(), self._beyond()
        decision = next((step.decision for step in reversed(self.steps) if step.calls == beyond), None)
        error = min(1.0, self.level * len({step.calls for step in self.steps if step.decision is not Decision.INVALID}))
        most = (
            f"{budget} is shown to hold with {plural(held, 'call')} at once"
            if held
            else f"no load is shown to hold {budget}"
        )
        if beyond is None:
            rest = f", the highest load of this search ({self.ceiling})" if held else ""
        else:
            rest = {
                Decision.DOES_NOT_HOLD: f"; {beyond} do not hold it",
                Decision.NOT_SHOWN: f"; with {beyond} it is neither shown to hold nor not to",
                Decision.INVALID: f"; with {beyond} the instrument was not fit to tell",
            }.get(decision or Decision.INVALID, "")
            if beyond == 1:
                rest = rest.replace("1 do not", "1 does not")
        return Answer(
            calls=held,
            beyond=beyond,
            beyond_decision=decision,
            error=error,
            sentence=f"{most}{rest}." if held else f"Not even 1 call at once: {most}{rest}.",
        )

    def _attempts(self, calls: int) -> int:
        return sum(step.calls == calls for step in self.steps)

    def _held(self) -> int:
        return max([0, *(step.calls for step in self.steps if step.decision is Decision.HOLDS)])

    def _beyond(self) -> int | None:
        held = self._held()
        failed = [
            step.calls
            for step in self.steps
            if step.calls > held
            and step.decision is not Decision.HOLDS
            and (step.decision is not Decision.INVALID or self._attempts(step.calls) >= MOST_ATTEMPTS)
        ]
        return min(failed, default=None)
