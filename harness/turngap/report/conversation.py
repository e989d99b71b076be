"""How the agent takes and leaves its turns: the rows of the report's section, and of the terminal's lines. Pure.

Nothing is shown of turns that a run does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.figures import LatencyFigures, Rate, WastedWork, WordErrors
from turngap.model.plural import plural
from turngap.model.result import RunRecord
from turngap.model.turn import GOOD, TurnRecord
from turngap.report.wording import OUTCOME, ms, percent
from turngap.verdict import conversation
from turngap.verdict.measures import REACTIONS, SHARES, barged_in, to_be_answered, to_be_ignored

ORDINARY = ("cut_off_rate", "missed_rate", "truncated_rate", "underrun_rate")
"""Rates that every run has: alone they make no section."""
MOST_TURNS = 100


@dataclass(frozen=True, slots=True)
class RateRow:
    """One rate."""

    words: str
    of: str
    rate: Rate
    budget: str
    """The limit, "" where the budget has none."""
    over: bool
    """The bound lies over the limit."""


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
    found: WordErrors
    twins: str
    """Those of the same words without noise, "" where there are none."""


@dataclass(frozen=True, slots=True)
class WasteRow:
    """Thrown-away work."""

    name: str
    found: WastedWork


@dataclass(frozen=True, slots=True)
class OverRow:
    """One turn that was spoken over the agent."""

    turn: TurnRecord
    kind: str
    outcome: str
    good: bool
    reaction_ms: float | None
    """Barge-in: until the agent stopped; backchannel: until its sentence went on."""


@dataclass(frozen=True, slots=True)
class Section:
    """What the section shows; each table may be empty."""

    rates: tuple[RateRow, ...]
    times: tuple[TimeRow, ...]
    words: tuple[WordRow, ...]
    waste: tuple[WasteRow, ...]
    over: tuple[OverRow, ...]
    budgeted: bool
    """Some of it is limited by the run's budget."""


def conversation_section(record: RunRecord, turns: Sequence[TurnRecord]) -> Section | None:
    """The section; None where the run has none of it, or did not record it."""
    talk = record.conversation
    if talk is None:
        return None
    limits = _limits(record)
    rates = tuple(
        RateRow(share.words, share.of, rate, _share_limit(limits, share.metric), _over(rate, limits.get(share.metric)))
        for share in SHARES
        if (rate := talk.rates.get(share.metric)) is not None and rate.n
    )
    times = tuple(
        TimeRow(reaction.words, figures, f"{limits[reaction.metric]:g}" if reaction.metric in limits else "")
        for reaction in REACTIONS
        if (figures := getattr(talk, reaction.metric)) is not None and figures.n
    )
    noisy = conversation.NOISY in talk.wer
    words = tuple(WordRow(name, found, _twin(record, name)) for name, found in talk.wer.items()) if noisy else ()
    waste = tuple(
        WasteRow(name, found)
        for name, found in (("all turns", talk.wasted), ("pause turns", talk.wasted_pauses))
        if found is not None and found.share is not None
    )
    special = any(
        talk.rates[share.metric].n for share in SHARES if share.metric in talk.rates and share.metric not in ORDINARY
    )
    if not (special or words or waste):
        return None
    budgeted = any(row.budget for row in rates) or any(row.budget for row in times)
    return Section(rates if special else (), times, words, waste, _over_rows(turns), budgeted)


def terminal_lines(record: RunRecord) -> list[tuple[str, str]]:
    """The same in few words, for the terminal: a name and a sentence each."""
    found = conversation_section(record, ())
    if found is None:
        return []
    rows = [
        (row.words, rate_text(row.rate)) for row in found.rates if row.words not in ("cut-offs", "replies that ran dry")
    ]
    rows += [
        (
            row.words,
            f"p50 {ms(row.figures.p50)}, p95 {ms(row.figures.p95)}, p95 ≤ {ms(row.figures.p95_upper)}, "
            f"max {ms(row.figures.max)} ms ({row.figures.n})",
        )
        for row in found.times
    ]
    rows += [
        (f"WER, {row.name}", f"{word_errors_text(row.found)}{f'; with clean twins {row.twins}' if row.twins else ''}")
        for row in found.words
    ]
    rows += [(f"wasted work, {row.name}", wasted_work_text(row.found)) for row in found.waste]
    return rows


def rate_text(rate: Rate) -> str:
    """A rate in words."""
    if rate.rate is None:
        return "not known"
    return f"{rate.events} of {rate.n:,} (at most {percent(rate.upper)} with 95 % confidence)"


def word_errors_text(found: WordErrors) -> str:
    """Word errors in words."""
    return f"{percent(found.wer)} of {plural(found.words, 'word')} (at most {percent(found.upper)})"


def wasted_work_text(found: WastedWork) -> str:
    """Thrown-away work in words."""
    return (
        f"{ms(found.wasted_ms)} ms a turn beside {ms(found.compute_ms)} ms that were heard: {percent(found.share)} "
        f"of the work (at most {percent(found.upper)})"
    )


def shown_outcomes(record: RunRecord, turns: Sequence[TurnRecord]) -> frozenset[str]:
    """Outcomes that only some kinds of turn can have, and that this run had no turn for: they need no row."""
    kinds = {
        "answered": any(map(to_be_answered, turns)) or not turns,
        "talked_over": any(map(barged_in, turns)),
        "stopped": any(map(to_be_ignored, turns)),
        "intruded": not all(map(to_be_answered, turns)),
        "held": not all(map(to_be_answered, turns)),
    }
    return frozenset(
        outcome.value for outcome in OUTCOME if kinds.get(outcome.value, True) or record.outcomes.get(outcome)
    )


def _limits(record: RunRecord) -> dict[str, float]:
    given = (record.budget or {}).get("limits", [])
    return {limit["metric"]: float(limit["at_most"]) for limit in given if isinstance(limit, dict)}


def _share_limit(limits: dict[str, float], metric: str) -> str:
    return percent(limits[metric]) if metric in limits else ""


def _over(rate: Rate, limit: float | None) -> bool:
    return limit is not None and rate.upper is not None and rate.upper > limit


def _twin(record: RunRecord, name: str) -> str:
    twins = record.conversation.twins.get(name) if record.conversation is not None else None
    return "" if twins is None else f"{percent(twins.noisy)} against {percent(twins.clean)} in {twins.pairs} pairs"


def _over_rows(turns: Sequence[TurnRecord]) -> tuple[OverRow, ...]:
    shown = [turn for turn in turns if turn.scored and (barged_in(turn) or to_be_ignored(turn))]
    return tuple(
        OverRow(
            turn,
            "barge-in" if barged_in(turn) else "backchannel",
            OUTCOME[turn.outcome][0],
            turn.outcome in GOOD,
            turn.barge_in_stop_ms if barged_in(turn) else turn.went_on_ms,
        )
        for turn in shown[:MOST_TURNS]
    )
