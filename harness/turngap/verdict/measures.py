"""The rates and reaction times of a run: on which turns each is measured, and what counts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turngap.model.figures import Rate
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import stats

_Predicate = Callable[[TurnRecord], bool]


@dataclass(frozen=True, slots=True)
class Share:
    """The share of the turns of one kind that have a certain fault."""

    metric: str
    """Its name in budgets and results."""
    label: str
    """The fault in the plural, as reports print it."""
    limit_name: str
    """As in "the underrun limit"."""
    sample: str
    """What a run needs more of for a smaller bound, in the singular."""
    kinds: str
    """What it is a share of, in the plural."""
    applies: _Predicate
    """Whether a turn is of the kind. It does not depend on the outcome, so that invalid turns are counted too."""
    is_event: _Predicate
    """Whether the turn has the fault."""

    def rate(self, turns: Iterable[TurnRecord]) -> Rate:
        """Return the rate over the valid turns of the kind."""
        counted = [turn for turn in turns if self.applies(turn) and turn.outcome is not Outcome.INVALID]
        return stats.rate(sum(map(self.is_event, counted)), len(counted))


@dataclass(frozen=True, slots=True)
class Reaction:
    """A time that each turn of one kind has."""

    metric: str
    """Its name in budgets, results and turns."""
    label: str
    kinds: str
    """The kind of turn, in the plural."""
    applies: _Predicate
    failed: frozenset[Outcome]
    """Outcomes that count as later than any time."""

    def value(self, turn: TurnRecord) -> float | None:
        """Return the time in ms; None if the turn counts as later than any other."""
        value: float | None = None if turn.outcome in self.failed else getattr(turn, self.metric)
        return value

    def values(self, turns: Iterable[TurnRecord]) -> list[float | None]:
        """Return the times of all valid turns of the kind."""
        return [self.value(turn) for turn in turns if self.applies(turn) and turn.outcome is not Outcome.INVALID]


def _needs_answer(turn: TurnRecord) -> bool:
    return turn.expectation.needs_answer


def _needs_silence(turn: TurnRecord) -> bool:
    return turn.expectation.needs_silence


def _is_pause_turn(turn: TurnRecord) -> bool:
    return turn.is_pause_turn


def _is_barge_in(turn: TurnRecord) -> bool:
    return turn.is_barge_in


def _is_backchannel(turn: TurnRecord) -> bool:
    return turn.is_backchannel


def _has_reply(turn: TurnRecord) -> bool:
    return turn.reply_ms is not None


def _has_underrun(turn: TurnRecord) -> bool:
    return bool(turn.underruns_ms)


def _has_clause_gap(turn: TurnRecord) -> bool:
    return turn.clause_gap_ms is not None


def _ended_as(outcome: Outcome) -> _Predicate:
    return lambda turn: turn.outcome is outcome


SHARES = (
    Share("cut_off_rate", "cut-offs", "cut-off", "turn", "turns", _needs_answer, _ended_as(Outcome.CUT_OFF)),
    Share(
        "pause_cut_off_rate",
        "cut-offs in pause turns",
        "pause cut-off",
        "pause turn",
        "pause turns",
        _is_pause_turn,
        _ended_as(Outcome.CUT_OFF),
    ),
    Share("missed_rate", "missed turns", "missed-turn", "turn", "turns", _needs_answer, _ended_as(Outcome.MISSED)),
    Share(
        "truncated_rate",
        "truncated transcripts",
        "truncation",
        "turn",
        "turns",
        _needs_answer,
        _ended_as(Outcome.TRUNCATED),
    ),
    Share("underrun_rate", "replies with an underrun", "underrun", "turn", "replies", _has_reply, _has_underrun),
    Share(
        "talked_over_rate",
        "barge-ins talked over",
        "talked-over",
        "barge-in",
        "barge-ins",
        _is_barge_in,
        _ended_as(Outcome.TALKED_OVER),
    ),
    Share(
        "false_stop_rate",
        "false stops",
        "false-stop",
        "backchannel",
        "backchannels",
        _is_backchannel,
        _ended_as(Outcome.STOPPED),
    ),
    Share(
        "intruded_rate",
        "answers where silence was expected",
        "intrusion",
        "silent turn",
        "turns with nothing to answer",
        _needs_silence,
        _ended_as(Outcome.INTRUDED),
    ),
)
SHARES_BY_METRIC = {share.metric: share for share in SHARES}

_DID_NOT_YIELD = frozenset({Outcome.TALKED_OVER, Outcome.FAILED})
_DID_NOT_CONTINUE = frozenset({Outcome.STOPPED, Outcome.FAILED})
_NONE: frozenset[Outcome] = frozenset()

REACTIONS = (
    Reaction("barge_in_stop_ms", "barge-in until the agent stops", "barge-ins", _is_barge_in, _DID_NOT_YIELD),
    Reaction("stale_ms", "old reply heard after that", "barge-ins", _is_barge_in, _NONE),
    Reaction("talk_over_ms", "both audible at once", "barge-ins", _is_barge_in, _NONE),
    Reaction(
        "went_on_ms", "backchannel until the sentence continues", "backchannels", _is_backchannel, _DID_NOT_CONTINUE
    ),
    Reaction("clause_gap_ms", "longest gap between clauses", "replies", _has_clause_gap, _NONE),
)
REACTIONS_BY_METRIC = {reaction.metric: reaction for reaction in REACTIONS}
