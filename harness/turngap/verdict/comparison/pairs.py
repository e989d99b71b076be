"""The turns of two runs that are compared: as pairs of the same utterance, or as two samples. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from turngap.model.turn import TurnRecord
from turngap.verdict.stats import Floats
from turngap.verdict.summary import valid_turns

Turns = Sequence[TurnRecord]


@dataclass(frozen=True, slots=True)
class Matched:
    """The valid turns of two runs; of pairs, turn by turn of the same utterance."""

    head: tuple[TurnRecord, ...]
    base: tuple[TurnRecord, ...]
    paired: bool
    left_out: int = 0
    """Turns of either run whose utterance the other does not have."""

    def select(self, value: Callable[[TurnRecord], float | None]) -> tuple[Floats, Floats]:
        """Return the values of either run, +inf for unanswered turns; turns (pairs) where one is None are left out."""
        head, base = ([value(turn) for turn in turns] for turns in (self.head, self.base))
        if self.paired:
            both = [(one, other) for one, other in zip(head, base, strict=True) if None not in (one, other)]
            head, base = [one for one, _ in both], [other for _, other in both]
        return to_floats(head), to_floats(base)


def match_turns(head: Turns, base: Turns) -> Matched:
    """Pair the turns of the same utterance, if all of one run's utterances are in the other, each once in either.

    A run that stopped early, as its verdict was decided, has fewer turns than the other; an utterance of which one turn
    is invalid makes no pair.
    """
    new, old = valid_turns(head), valid_turns(base)
    by_id = tuple({turn.utterance_id: turn for turn in turns} for turns in (new, old))
    planned = tuple({turn.utterance_id for turn in turns if turn.scored} for turns in (head, base))
    once = len(by_id[0]) == len(new) and len(by_id[1]) == len(old)
    common = [key for key in by_id[0] if key in by_id[1]]
    if not once or not common or not (planned[0] <= planned[1] or planned[1] <= planned[0]):
        return Matched(new, old, paired=False)
    pairs = tuple(by_id[0][key] for key in common), tuple(by_id[1][key] for key in common)
    return Matched(*pairs, paired=True, left_out=len(new) + len(old) - 2 * len(common))


def to_floats(values: Sequence[float | None]) -> Floats:
    """Return the values that are not None."""
    return np.asarray([value for value in values if value is not None], np.float64)
