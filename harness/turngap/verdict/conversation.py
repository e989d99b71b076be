"""A run's conversation figures: rates, reaction times, word errors by noise, wasted work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from turngap.model.figures import ConversationFigures, Twins, WastedWork
from turngap.model.turn import TurnRecord
from turngap.verdict import stats
from turngap.verdict.measures import REACTIONS_BY_METRIC, SHARES
from turngap.verdict.word_errors import pool_word_errors

CLEAN, NOISY = "clean", "noisy"


def conversation_figures(turns: Sequence[TurnRecord]) -> ConversationFigures:
    """Return the figures of `turns`, which are valid turns."""
    conditions = sorted({turn.condition for turn in turns if turn.condition})
    word_errors = {name: pool_word_errors(select_condition(turns, name)) for name in (CLEAN, NOISY, *conditions)}
    twins = {name: _twins(turns, select_condition(turns, name)) for name in (NOISY, *conditions)}
    return ConversationFigures(
        rates={share.metric: share.rate(turns) for share in SHARES},
        barge_in_stop_ms=stats.latency_figures(REACTIONS_BY_METRIC["barge_in_stop_ms"].values(turns)),
        stale_ms=stats.latency_figures(REACTIONS_BY_METRIC["stale_ms"].values(turns)),
        talk_over_ms=stats.latency_figures(REACTIONS_BY_METRIC["talk_over_ms"].values(turns)),
        went_on_ms=stats.latency_figures(REACTIONS_BY_METRIC["went_on_ms"].values(turns)),
        clause_gap_ms=stats.latency_figures(REACTIONS_BY_METRIC["clause_gap_ms"].values(turns)),
        wer={name: words for name, words in word_errors.items() if words is not None},
        twins={name: pairs for name, pairs in twins.items() if pairs is not None},
        wasted=pool_wasted_work(turns),
        wasted_pauses=pool_wasted_work([turn for turn in turns if turn.is_pause_turn]),
    )


def select_condition(turns: Iterable[TurnRecord], name: str) -> list[TurnRecord]:
    """Return the turns of one condition: `clean`, `noisy` for all others, or the name of a noise."""
    if name in (CLEAN, NOISY):
        return [turn for turn in turns if bool(turn.condition) is (name == NOISY)]
    return [turn for turn in turns if turn.condition == name]


def pool_wasted_work(turns: Iterable[TurnRecord], c: float = stats.CONFIDENCE) -> WastedWork | None:
    """Return wasted work and useful work per turn; None if no turn reports it."""
    reporting = [turn for turn in turns if turn.wasted_ms is not None]
    if not reporting:
        return None
    computed, wasted = [turn.compute_ms or 0.0 for turn in reporting], [turn.wasted_ms or 0.0 for turn in reporting]
    work = sum(computed) + sum(wasted)
    parts = [round(ms) for ms in wasted]
    wholes = [part + round(ms) for part, ms in zip(parts, computed, strict=True)]
    return WastedWork(
        turns=len(reporting),
        compute_ms=sum(computed) / len(reporting),
        wasted_ms=sum(wasted) / len(reporting),
        share=sum(wasted) / work if work else None,
        upper=stats.ratio_upper(parts, wholes, c) if sum(wholes) else None,
    )


def _twins(turns: Iterable[TurnRecord], noisy: Sequence[TurnRecord]) -> Twins | None:
    """Return the pooled word error rates of noisy turns and of their clean twins."""
    by_id = {turn.utterance_id: turn for turn in turns if turn.words and turn.word_errors is not None}
    pairs = [
        (turn, by_id[turn.twin]) for turn in noisy if turn.twin in by_id and turn.words and turn.word_errors is not None
    ]
    noisy_errors, clean_errors = (
        pool_word_errors([turn for turn, _ in pairs]),
        pool_word_errors([twin for _, twin in pairs]),
    )
    if noisy_errors is None or clean_errors is None:
        return None
    return Twins(pairs=len(pairs), noisy=noisy_errors.wer, clean=clean_errors.wer)
