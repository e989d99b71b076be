"""The rates of a run: of which turns each is a share, and which of them count. One definition for all. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turngap.model.figures import Rate
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PAUSE_MS, Expectation
from turngap.verdict import stats

_Test = Callable[[TurnRecord], bool]


@dataclass(frozen=True, slots=True)
class Share:
    """Turns of a kind, and the fault that some of them show."""

    metric: str
    """Its name in budgets and results."""
    words: str
    of: str
    """The kind of turn, in the plural."""
    among: _Test
    """Whether a turn is of that kind; it does not hang on the outcome, so that spoilt turns are counted too."""
    event: _Test
    """Whether it shows the fault."""

    def over(self, turns: Iterable[TurnRecord]) -> Rate:
        """The rate over the turns of that kind, spoilt ones left out."""
        counted = [turn for turn in turns if self.among(turn) and turn.outcome is not Outcome.INVALID]
        return stats.rate(sum(map(self.event, counted)), len(counted))


def to_be_answered(turn: TurnRecord) -> bool:
    """Something was said to the agent: an answer was to come."""
    return turn.expectation in (Expectation.RESPOND, Expectation.STOP)


def paused(turn: TurnRecord) -> bool:
    """A turn that was to be answered, with a pause of 200 ms or more inside the utterance."""
    return to_be_answered(turn) and turn.pause_ms >= PAUSE_MS


def barged_in(turn: TurnRecord) -> bool:
    """A barge-in that found the agent speaking."""
    return turn.expectation is Expectation.STOP and turn.over_agent


def to_be_ignored(turn: TurnRecord) -> bool:
    """A backchannel or a cough that found the agent speaking."""
    return turn.expectation is Expectation.IGNORE and turn.over_agent


def to_be_left_alone(turn: TurnRecord) -> bool:
    """Nothing was to be answered."""
    return turn.expectation in (Expectation.WAIT, Expectation.IGNORE)


def underran(turn: TurnRecord) -> bool:
    """Playout ran dry inside its reply, however short."""
    return bool(turn.underruns_ms)


def _is(outcome: Outcome) -> _Test:
    return lambda turn: turn.outcome is outcome


SHARES = (
    Share("cut_off_rate", "cut-offs", "turns", to_be_answered, _is(Outcome.CUT_OFF)),
    Share("pause_cut_off_rate", "cut-offs in pause turns", "pause turns", paused, _is(Outcome.CUT_OFF)),
    Share("missed_rate", "missed ends", "turns", to_be_answered, _is(Outcome.MISSED)),
    Share("truncated_rate", "truncated transcripts", "turns", to_be_answered, _is(Outcome.TRUNCATED)),
    Share("underrun_rate", "replies that ran dry", "replies", lambda turn: turn.reply_ms is not None, underran),
    Share("talked_over_rate", "barge-ins talked over", "barge-ins", barged_in, _is(Outcome.TALKED_OVER)),
    Share("false_stop_rate", "false stops", "backchannels", to_be_ignored, _is(Outcome.STOPPED)),
    Share(
        "intruded_rate", "answers to nobody", "turns with nothing to answer", to_be_left_alone, _is(Outcome.INTRUDED)
    ),
)
SHARES_BY_METRIC = {share.metric: share for share in SHARES}


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
REACTIONS_BY_METRIC = {reaction.metric: reaction for reaction in REACTIONS}
