"""How fast an agent yields, goes on, gets to its next clause: which turns have such a time. One definition. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict.rates import barged_in, to_be_ignored


@dataclass(frozen=True, slots=True)
class Reaction:
    """A time that turns of one kind have."""

    metric: str
    """Its name in budgets, results and turns."""
    words: str
    of: str
    """The kind of turn, in the plural."""
    among: Callable[[TurnRecord], bool]
    failed: frozenset[Outcome]
    """Outcomes that stand for later than any time."""

    def value(self, turn: TurnRecord) -> float | None:
        """The time, ms; None where it counts as later than any other."""
        value: float | None = None if turn.outcome in self.failed else getattr(turn, self.metric)
        return value

    def values(self, turns: Iterable[TurnRecord]) -> list[float | None]:
        """Those of all turns of the kind, spoilt ones left out."""
        return [self.value(turn) for turn in turns if self.among(turn) and turn.outcome is not Outcome.INVALID]


def _told_of_gaps(turn: TurnRecord) -> bool:
    return turn.clause_gap_ms is not None


_NOT_YIELDED = frozenset({Outcome.TALKED_OVER, Outcome.FAILED})
_NOT_GONE_ON = frozenset({Outcome.STOPPED, Outcome.FAILED})
_NONE: frozenset[Outcome] = frozenset()

REACTIONS = (
    Reaction("barge_in_stop_ms", "barge-in, until the agent stops", "barge-ins", barged_in, _NOT_YIELDED),
    Reaction("stale_ms", "old reply heard after that", "barge-ins", barged_in, _NONE),
    Reaction("talk_over_ms", "both audible at once", "barge-ins", barged_in, _NONE),
    Reaction("went_on_ms", "backchannel, until the sentence goes on", "backchannels", to_be_ignored, _NOT_GONE_ON),
    Reaction("clause_gap_ms", "longest gap between clauses", "replies", _told_of_gaps, _NONE),
)
BY_METRIC = {reaction.metric: reaction for reaction in REACTIONS}
