"""The results of a sweep's settings: figures, which dominates which, and the difference from the first. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from turngap_agent.documents import FrozenModel
from turngap_agent.tracing import Stage

from turngap.model.figures import LatencyFigures, Rate, WastedWork
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import TurnRecord
from turngap.verdict import stats
from turngap.verdict.comparison import LEAST_PAIRS, Change, compare_medians
from turngap.verdict.speech import describe_speech
from turngap.verdict.summary import valid_turns

AIM_MS = 500.0
"""Reference line of the charts, at the media edge."""


class Difference(FrozenModel):
    """The turn gap compared with the first setting's, over utterances that both answered."""

    pairs: int
    left_out: int
    """Pairs with a turn that was not answered correctly; an invalid turn makes no pair."""
    median_change_ms: float | None
    """With its exact 95 % interval; None for fewer than `LEAST_PAIRS` pairs."""
    low_ms: float | None
    high_ms: float | None
    change: Change


class Point(FrozenModel):
    """The results of one setting."""

    name: str
    slug: str
    """The name of its run folder in the sweep's folder."""
    current: bool
    """The profile itself has this setting."""
    verdict: Verdict
    n_turns: int
    answered: int
    invalid: int
    turn_gap_ms: LatencyFigures
    perceived_gap_ms: LatencyFigures
    cut_off_rate: Rate
    within_500: float | None
    """Share of turns answered within 500 ms at the media edge."""
    wer: float | None
    wer_upper: float | None
    """Its 95 % bound."""
    wasted: WastedWork | None
    """Wasted work; None where the agent does not report it."""
    first_clause_words: float | None
    """Median length of the first clause: a filler is not an answer."""
    exposed_p50_ms: dict[Stage, float]
    """Median time of each stage on the critical path."""
    dominated_by: str | None = None
    """The name of a setting that is no worse in any goal and better in one; None without one, and for a setting that
    is not `ranked`."""
    speech: str = ""
    """On what it was measured: utterances, sources, licences."""
    difference: Difference | None = None
    """None for the first setting, and without pairs."""
    take_care: tuple[str, ...] = ()
    """Warnings about the machine and the instrument, a line each."""

    @property
    def ranked(self) -> bool:
        """True if it has enough turns to be compared with others, whatever their outcome."""
        return self.n_turns - self.invalid >= LEAST_PAIRS

    @property
    def on_front(self) -> bool:
        """True if it is ranked and no other setting dominates it."""
        return self.ranked and self.dominated_by is None


Goals = tuple[float, ...]
"""Figures that should be small; infinite if unknown."""


def make_points(
    runs: Sequence[tuple[str, str, bool, RunRecord, Sequence[TurnRecord]]],
) -> tuple[Point, ...]:
    """Return a point for each (name, slug, is current, run, its turns), in that order."""
    results = [_make_point(*run) for run in runs]
    ranked = [place for place, point in enumerate(results) if point.ranked]
    over_ranked = dominators([goals(results[place]) for place in ranked])
    above = {place: None if over is None else ranked[over] for place, over in zip(ranked, over_ranked, strict=True)}
    return tuple(
        point.model_copy(
            update={
                "dominated_by": None if (over := above.get(index)) is None else results[over].name,
                "difference": None if index == 0 else difference(runs[index][4], runs[0][4]),
            }
        )
        for index, point in enumerate(results)
    )


def goals(point: Point) -> Goals:
    """Return median and p95 of the turn gap, and the rate of false cut-offs."""
    values = (point.turn_gap_ms.p50, point.turn_gap_ms.p95, point.cut_off_rate.rate)
    return tuple(math.inf if value is None else value for value in values)


def dominates(one: Goals, other: Goals) -> bool:
    """Return whether `one` is no worse in any goal and better in at least one."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def dominators(settings: Sequence[Goals]) -> list[int | None]:
    """Return for each the place of the first one on the front that dominates it; None for those on the front."""
    front = [not any(dominates(other, setting) for other in settings) for setting in settings]
    return [
        next((place for place, other in enumerate(settings) if front[place] and dominates(other, setting)), None)
        for setting in settings
    ]


def difference(turns: Sequence[TurnRecord], first: Sequence[TurnRecord]) -> Difference | None:
    """Compare the turn gaps with those of `first`, paired by call, turn and utterance; None without pairs."""
    base = {(turn.call, turn.turn, turn.utterance_id): turn for turn in turns_with_gap(first)}
    pairs = [
        (turn, base[key])
        for turn in turns_with_gap(turns)
        if (key := (turn.call, turn.turn, turn.utterance_id)) in base
    ]
    both = [(new.turn_gap_ms, old.turn_gap_ms) for new, old in pairs if new.is_good and old.is_good]
    if not pairs:
        return None
    left_out = len(pairs) - len(both)
    if len(both) < LEAST_PAIRS:
        return Difference(
            pairs=len(both),
            left_out=left_out,
            median_change_ms=None,
            low_ms=None,
            high_ms=None,
            change=Change.AMBIGUOUS,
        )
    moved = compare_medians([new for new, _ in both], [old for _, old in both], paired=True)
    return Difference(
        pairs=len(both),
        left_out=left_out,
        median_change_ms=moved.median_change_ms,
        low_ms=moved.low_ms,
        high_ms=moved.high_ms,
        change=moved.change,
    )


def turns_with_gap(turns: Sequence[TurnRecord]) -> list[TurnRecord]:
    """Return the turns whose gap counts: the valid turns that have to be answered."""
    return [turn for turn in valid_turns(turns) if turn.expectation.needs_answer]


def _make_point(name: str, slug: str, current: bool, record: RunRecord, turns: Sequence[TurnRecord]) -> Point:
    counted = turns_with_gap(turns)
    answered = [turn for turn in counted if turn.is_good]
    words = [float(len(turn.first_clause.split())) for turn in answered if turn.first_clause]
    within = sum(turn.turn_gap_ms is not None and turn.turn_gap_ms <= AIM_MS for turn in answered)
    return Point(
        name=name,
        slug=slug,
        current=current,
        verdict=record.verdict,
        n_turns=record.n_turns,
        answered=len(answered),
        invalid=record.n_turns - len(valid_turns(turns)),
        turn_gap_ms=record.turn_gap_ms,
        perceived_gap_ms=record.perceived_gap_ms,
        cut_off_rate=record.cut_off_rate,
        within_500=within / len(counted) if counted else None,
        wer=record.wer,
        wer_upper=record.wer_upper,
        wasted=record.conversation.wasted if record.conversation is not None else None,
        first_clause_words=stats.percentile(words, 0.5),
        exposed_p50_ms={stage: figures.exposed_p50_ms for stage, figures in record.stages.items()},
        speech=describe_speech(record.corpus),
        take_care=tuple(f"{check.name}: {check.text}" for check in record.validity if check.warning),
    )
