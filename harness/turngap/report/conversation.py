"""How the agent takes its turns: the rows of the report's section and the lines for the terminal. Pure.

Kinds of turns that a run does not have are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.figures import LatencyFigures, Rate, WastedWork, WordErrors
from turngap.model.landing import Landing
from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.turn import GOOD, TurnRecord
from turngap.report.wording import OUTCOME, bound_text, ms, percent
from turngap.verdict import conversation
from turngap.verdict.landings import describe_landings
from turngap.verdict.measures import REACTIONS, SHARES

ORDINARY = ("cut_off_rate", "missed_rate", "truncated_rate", "underrun_rate")
"""Rates that every run has; the section is shown only if there is more than these."""
MOST_TURNS = 100
_YES_NO = {True: "yes", False: "no", None: "not known"}
IN_RECORDINGS = ("answered", "missed", "cut_off", "talked_over", "held")
"""The outcomes that a turn from a recording can have."""
_IN_EVERY_SUMMARY = ("cut-offs", "replies with an underrun")


@dataclass(frozen=True, slots=True)
class RateRow:
    """One rate."""

    words: str
    of: str
    rate: Rate
    budget: str
    """The limit, "" if the budget has none."""
    over: bool
    """The bound is over the limit."""


@dataclass(frozen=True, slots=True)
class TimeRow:
    """One reaction time, ms."""

    words: str
    figures: LatencyFigures
    budget: str


@dataclass(frozen=True, slots=True)
class WordRow:
    """Word errors in one condition."""

    name: str
    figures: WordErrors
    twins: str
    """Comparison with the same words without noise, "" if there are none."""


@dataclass(frozen=True, slots=True)
class WasteRow:
    """Wasted work."""

    name: str
    figures: WastedWork


@dataclass(frozen=True, slots=True)
class OverRow:
    """One turn that was spoken over the agent."""

    turn: TurnRecord
    kind: str
    outcome: str
    good: bool
    reaction_ms: float | None
    """Barge-in: until the agent stopped; backchannel: until its sentence continued."""


@dataclass(frozen=True, slots=True)
class LandedRow:
    """One cut-off, and how it landed."""

    utterance: str
    landing: Landing

    @property
    def soft(self) -> str:
        """Whether it landed softly."""
        return _YES_NO[self.landing.soft]

    @property
    def whole(self) -> str:
        """Whether the whole utterance was answered in the end."""
        return _YES_NO[self.landing.answered_whole]


@dataclass(frozen=True, slots=True)
class Section:
    """The tables of the section; each may be empty."""

    rates: tuple[RateRow, ...]
    times: tuple[TimeRow, ...]
    words: tuple[WordRow, ...]
    waste: tuple[WasteRow, ...]
    over: tuple[OverRow, ...]
    landings: str
    """How cut-offs landed, in one sentence; "" if there are none."""
    landed: tuple[LandedRow, ...]
    """Each cut-off."""
    budgeted: bool
    """Whether the run's budget limits any of it."""


def conversation_section(record: RunRecord, turns: Sequence[TurnRecord]) -> Section | None:
    """Return the section; None if the run has nothing to show in it, or did not record it."""
    talk = record.conversation
    if talk is None:
        return None
    limits = _limits(record)
    rates = tuple(
        RateRow(
            share.label, share.kinds, rate, _limit_text(limits, share.metric), _is_over(rate, limits.get(share.metric))
        )
        for share in SHARES
        if (rate := talk.rates.get(share.metric)) is not None and rate.n
    )
    times = tuple(
        TimeRow(reaction.label, figures, f"{limits[reaction.metric]:g}" if reaction.metric in limits else "")
        for reaction in REACTIONS
        if (figures := getattr(talk, reaction.metric)) is not None and figures.n
    )
    noisy = conversation.NOISY in talk.wer
    words = tuple(WordRow(name, figures, _twin(record, name)) for name, figures in talk.wer.items()) if noisy else ()
    waste = tuple(
        WasteRow(name, figures)
        for name, figures in (("all turns", talk.wasted), ("pause turns", talk.wasted_pauses))
        if figures is not None and figures.share is not None
    )
    special = any(
        talk.rates[share.metric].n for share in SHARES if share.metric in talk.rates and share.metric not in ORDINARY
    )
    landed = "" if record.landings is None else describe_landings(record.landings)
    if not (special or words or waste or landed):
        return None
    budgeted = any(row.budget for row in rates) or any(row.budget for row in times)
    return Section(
        rates if special else (), times, words, waste, _over_rows(turns), landed, _landed_rows(turns), budgeted
    )


def terminal_lines(record: RunRecord) -> list[tuple[str, str]]:
    """Return the section as lines for the terminal: a name and a sentence each."""
    section = conversation_section(record, ())
    if section is None:
        return []
    rows = [(row.words, rate_text(row.rate)) for row in section.rates if row.words not in _IN_EVERY_SUMMARY]
    rows += [
        (
            row.words,
            f"p50 {ms(row.figures.p50)}, p95 {ms(row.figures.p95)}, p95 ≤ {bound_text(row.figures)}, "
            f"max {ms(row.figures.max)} ms ({row.figures.n})",
        )
        for row in section.times
    ]
    if section.landings:
        rows.append(("cut-offs, their landing", section.landings))
    rows += [
        (f"WER, {row.name}", f"{word_errors_text(row.figures)}{f'; with clean twins {row.twins}' if row.twins else ''}")
        for row in section.words
    ]
    rows += [(f"wasted work, {row.name}", wasted_work_text(row.figures)) for row in section.waste]
    return rows


def rate_text(rate: Rate) -> str:
    """Return a rate in words."""
    if rate.rate is None:
        return "not known"
    return f"{rate.events} of {rate.n:,} (at most {percent(rate.upper)} with 95 % confidence)"


def word_errors_text(errors: WordErrors) -> str:
    """Return word errors in words."""
    text = f"{percent(errors.wer)} of {plural(errors.words, 'word')} (at most {percent(errors.upper)})"
    if errors.without_transcript:
        text = f"{text}; {plural(errors.without_transcript, 'turn')} without a transcript counted as missed words"
    if errors.runaway is not None and errors.runaway.events:
        text = f"{text}; in {plural(errors.runaway.events, 'turn')} more errors than words"
    return text


def wasted_work_text(work: WastedWork) -> str:
    """Return wasted work in words."""
    return (
        f"{ms(work.wasted_ms)} ms a turn wasted, {ms(work.compute_ms)} ms a turn used: {percent(work.share)} "
        f"of the work is wasted (at most {percent(work.upper)})"
    )


def shown_outcomes(record: RunRecord, turns: Sequence[TurnRecord]) -> frozenset[str]:
    """Return the outcomes that need a row: those that the run's kinds of turns can have."""
    if record.recording is not None:
        return frozenset({*IN_RECORDINGS, *(outcome.value for outcome, count in record.outcomes.items() if count)})
    kinds = {
        "answered": any(turn.expectation.needs_answer for turn in turns) or not turns,
        "talked_over": any(turn.is_barge_in for turn in turns),
        "stopped": any(turn.is_backchannel for turn in turns),
        "intruded": not all(turn.expectation.needs_answer for turn in turns),
        "held": not all(turn.expectation.needs_answer for turn in turns),
    }
    return frozenset(
        outcome.value for outcome in OUTCOME if kinds.get(outcome.value, True) or record.outcomes.get(outcome)
    )


def _limits(record: RunRecord) -> dict[str, float]:
    return {limit.metric: limit.at_most for limit in record.budget.limits} if record.budget is not None else {}


def _limit_text(limits: dict[str, float], metric: str) -> str:
    return percent(limits[metric]) if metric in limits else ""


def _is_over(rate: Rate, limit: float | None) -> bool:
    return limit is not None and rate.upper is not None and rate.upper > limit


def _twin(record: RunRecord, name: str) -> str:
    twins = record.conversation.twins.get(name) if record.conversation is not None else None
    return "" if twins is None else f"{percent(twins.noisy)} against {percent(twins.clean)} in {twins.pairs} pairs"


def _over_rows(turns: Sequence[TurnRecord]) -> tuple[OverRow, ...]:
    shown = [turn for turn in turns if turn.scored and (turn.is_barge_in or turn.is_backchannel)]
    return tuple(
        OverRow(
            turn,
            "barge-in" if turn.is_barge_in else "backchannel",
            OUTCOME[turn.outcome][0],
            turn.outcome in GOOD,
            turn.barge_in_stop_ms if turn.is_barge_in else turn.went_on_ms,
        )
        for turn in shown[:MOST_TURNS]
    )


def _landed_rows(turns: Sequence[TurnRecord]) -> tuple[LandedRow, ...]:
    shown = [turn for turn in turns if turn.is_valid]
    rows = [LandedRow(turn.utterance_id, turn.landing) for turn in shown if turn.landing is not None]
    return tuple(rows[:MOST_TURNS])
