"""The planned turns of a run, as its stopping plan needs them: the kind of each, and its words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from turngap.model.budget import Limit, Metric
from turngap.scenario import PAUSE_MS, Expectation, PlannedCall, Turn

_PAUSE_STRATUM = "pause"
_OF_EXPECTATION = {
    Metric.BARGE_IN_STOP: Expectation.STOP,
    Metric.STALE: Expectation.STOP,
    Metric.TALK_OVER: Expectation.STOP,
    Metric.TALKED_OVER: Expectation.STOP,
    Metric.WENT_ON: Expectation.IGNORE,
    Metric.FALSE_STOP: Expectation.IGNORE,
}


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """What is known of a turn before it is called."""

    expectation: Expectation = Expectation.RESPOND
    pauses: bool = False
    """Whether the scenario sets a pause inside the utterance; pauses inside a recording are not known."""
    words: int = 0
    """0: not known."""
    noisy: bool = False

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """Return what is known of that turn of a scenario."""
        gaps_ms = turn.all_gaps_ms or ()
        pauses = turn.stratum == _PAUSE_STRATUM or any(gap_ms >= PAUSE_MS for gap_ms in gaps_ms)
        words = len((turn.expect or turn.say or "").split())
        return cls(turn.agent, turn.agent.needs_answer and pauses, words, turn.noise is not None)


def list_planned(calls: Sequence[PlannedCall]) -> tuple[PlannedTurn, ...]:
    """Return the turns to be scored, in the order of the calls."""
    return tuple(PlannedTurn.of(turn) for call in calls for turn in call.scored_turns)


def find_own(limit: Limit, planned: Sequence[PlannedTurn]) -> list[int]:
    """Return the places, from 1, of the turns that a limit is about; of all where none is known to be of its kind.

    Replies are planned as the turns that need an answer: how many come is not known before.
    """
    own = [place for place, turn in enumerate(planned, 1) if _applies(limit, turn)]
    return own or list(range(1, len(planned) + 1))


def _applies(limit: Limit, turn: PlannedTurn) -> bool:
    if limit.metric == Metric.PAUSE_CUT_OFF:
        return turn.pauses
    if limit.metric == Metric.INTRUDED:
        return turn.expectation.needs_silence
    if limit.metric in _OF_EXPECTATION:
        return turn.expectation is _OF_EXPECTATION[Metric(limit.metric)]
    if limit.metric in (Metric.WER_CLEAN, Metric.WER_NOISY):
        return turn.expectation.needs_answer and turn.noisy == (limit.metric == Metric.WER_NOISY)
    return turn.expectation.needs_answer
