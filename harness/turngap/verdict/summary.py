"""The figures of a run from its turns: percentiles, stages, cost, and the turns that represent it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from turngap_agent.profile.sections import Price
from turngap_agent.tracing import Stage

from turngap.model.figures import CorpusFigures, CostFigures, LatencyFigures, Source, StageFigures
from turngap.model.result import RunRecord
from turngap.model.turn import Outcome, StageTime, TurnRecord
from turngap.verdict import conversation, groups, stats
from turngap.verdict.intervals import compute_intervals
from turngap.verdict.landings import pool_landings
from turngap.verdict.word_errors import pool_word_errors

Turns = Sequence[TurnRecord]
_MINUTES_PER_HOUR = 60


def valid_turns(turns: Iterable[TurnRecord]) -> tuple[TurnRecord, ...]:
    """Return the turns that figures may use: neither warm-up nor invalid."""
    return tuple(turn for turn in turns if turn.is_valid)


def compute_figures(turns: Turns) -> dict[str, Any]:
    """Return the fields of `RunRecord` that are computed from turns.

    Latencies are those of the valid turns that need an answer; a turn that was not answered as it should counts as
    later than any other, as it does in the gate. Stages are those of answered turns that have spans.
    """
    valid = valid_turns(turns)
    timed = [turn for turn in valid if turn.expectation.needs_answer]
    outcomes = Counter(turn.outcome for turn in turns if turn.scored)
    words = pool_word_errors(valid)
    talk = conversation.conversation_figures(valid)
    spare = [turn.attempts - turn.expectation.needs_answer for turn in valid if turn.attempts is not None]
    return {
        "n_turns": sum(outcomes.values()),
        "outcomes": {outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        "turn_gap_ms": stats.latency_figures([turn.turn_gap_ms if turn.is_good else None for turn in timed]),
        "turn_gap_frame_ms": stats.latency_figures(
            [turn.turn_gap_frame_ms if turn.is_good else None for turn in timed]
        ),
        "perceived_gap_ms": stats.latency_figures([turn.perceived_gap_ms if turn.is_good else None for turn in timed]),
        "substance_gap_ms": _substance_figures(timed, "substance_gap_ms"),
        "perceived_substance_ms": _substance_figures(timed, "perceived_substance_ms"),
        "first_byte_ms": stats.latency_figures([turn.first_byte_ms if turn.is_good else None for turn in timed]),
        "stages": stage_figures(valid),
        "wer": None if words is None else words.wer,
        "wer_upper": None if words is None else words.upper,
        "cut_off_rate": talk.rates["cut_off_rate"],
        "underrun_rate": talk.rates["underrun_rate"],
        "wasted_attempts": sum(max(0, count) for count in spare) if spare else None,
        "strata": groups.group_by_stratum(valid),
        "depths": groups.group_by_depth(valid),
        "conversation": talk,
        "landings": pool_landings(valid),
    }


def _substance_figures(timed: Turns, field: str) -> LatencyFigures | None:
    """Return the figures of a time to substance; None where it is not known for some answered turn."""
    if not timed or any(turn.is_good and turn.substance_gap_ms is None for turn in timed):
        return None
    return stats.latency_figures([getattr(turn, field) if turn.is_good else None for turn in timed])


def recompute_figures(record: RunRecord, turns: Turns) -> RunRecord:
    """Return `record` with its figures computed from `turns`: for a run that ended before it wrote its own."""
    low_ms, high_ms = label_uncertainty_ms(turns)
    instrument = record.instrument.model_copy(update={"label_low_ms": low_ms, "label_high_ms": high_ms})
    corpus = record.corpus if record.corpus.distinct_utterances else corpus_figures(turns, {})
    known = {"intervals": compute_intervals(turns, record.budget)}
    return record.model_copy(update=compute_figures(turns) | known | {"instrument": instrument, "corpus": corpus})


def stage_figures(turns: Iterable[TurnRecord]) -> dict[Stage, StageFigures]:
    """Return the figures of each stage over the answered turns that have it."""
    times: dict[Stage, list[StageTime]] = {}
    for turn in turns:
        if turn.is_good and turn.stages:
            for stage, time in turn.stages.items():
                times.setdefault(stage, []).append(time)
    return {stage: _figures_of_stage(times[stage]) for stage in Stage if stage in times}


def corpus_figures(turns: Turns, sources: dict[str, str]) -> CorpusFigures:
    """Return the corpus figures of the scored turns; `sources` maps utterance ids to the source of their audio."""
    by_id = {turn.utterance_id: turn for turn in turns if turn.scored}
    origins = Counter(sources.get(utterance, "unknown") for utterance in by_id)
    return CorpusFigures(
        distinct_utterances=len(by_id),
        synthetic=sum(turn.synthetic_caller for turn in by_id.values()),
        strata=dict(sorted(Counter(turn.stratum for turn in by_id.values()).items())),
        sources=tuple(Source(source=source, utterances=count) for source, count in origins.most_common()),
    )


def label_uncertainty_ms(turns: Turns) -> tuple[float | None, float | None]:
    """Return the median shift of the end-of-speech labels, ms, when their thresholds change by -5 dB and by +5 dB."""
    valid = valid_turns(turns)
    if not valid:
        return None, None
    return (
        float(np.median([turn.label_low_ms for turn in valid])),
        float(np.median([turn.label_high_ms for turn in valid])),
    )


def perceived_gaps(turns: Turns) -> list[float | None]:
    """Return the perceived gaps of the turns that need an answer; None for each that was not answered as it should."""
    return [turn.perceived_gap_ms if turn.is_good else None for turn in turns if turn.expectation.needs_answer]


def representative_turn(turns: Turns) -> TurnRecord | None:
    """Return the answered turn nearest the medians of gap and exposed times (sum of the distances, ms).

    Turns with stages are preferred; None if no turn was answered.
    """
    answered = [turn for turn in valid_turns(turns) if turn.is_good and turn.turn_gap_ms is not None]
    pool = [turn for turn in answered if turn.stages] or answered
    if not pool:
        return None
    vectors = [_gap_and_exposed_ms(turn) for turn in pool]
    medians = [stats.percentile(column, 0.5) or 0.0 for column in zip(*vectors, strict=True)]
    distances = [sum(abs(a - b) for a, b in zip(vector, medians, strict=True)) for vector in vectors]
    return pool[distances.index(min(distances))]


def worst_turn(turns: Turns) -> TurnRecord | None:
    """Return the valid turn with the longest gap, whatever its outcome; turns with a critical path are preferred."""
    with_gap = [turn for turn in valid_turns(turns) if turn.turn_gap_ms is not None]
    pool = [turn for turn in with_gap if turn.path] or with_gap
    return max(pool, key=lambda turn: turn.turn_gap_ms or 0.0, default=None)


def compute_cost(
    price: Price | None, simultaneous_calls: int, call_s: float, answered_turns: int, *, calls: int
) -> CostFigures | None:
    """Return the cost of a call minute, of a call and of an answered turn; None without a price.

    `simultaneous_calls` (N) share the machine, and `call_s` is the length of all calls together, in seconds:

        call minute   = price per hour / 60 / N
        call          = call minute x (call_s / 60) / calls
        answered turn = call minute x (call_s / 60) / answered turns

    The machine is assumed to be busy with N calls all the time, which is the least that a minute can cost; its start
    and the calibration are not counted. A figure is None where there was nothing of its kind.
    """
    if price is None:
        return None
    call_minute = price.an_hour / _MINUTES_PER_HOUR / simultaneous_calls
    minutes = call_s / 60
    return CostFigures(
        an_hour=price.an_hour,
        currency=price.currency,
        as_of=price.as_of,
        source=price.source,
        simultaneous_calls=simultaneous_calls,
        call_minutes=round(minutes, 3),
        answered_turns=answered_turns,
        call_minute=call_minute,
        answered_turn=call_minute * minutes / answered_turns if answered_turns else None,
        call=call_minute * minutes / calls if calls else None,
    )


def _figures_of_stage(times: list[StageTime]) -> StageFigures:
    def at(q: float, value: Callable[[StageTime], float]) -> float:
        return float(np.percentile([value(time) for time in times], 100 * q))

    return StageFigures(
        n=len(times),
        p50_ms=at(0.5, lambda time: time.duration_ms),
        p95_ms=at(0.95, lambda time: time.duration_ms),
        exposed_p50_ms=at(0.5, lambda time: time.exposed_ms),
        exposed_p95_ms=at(0.95, lambda time: time.exposed_ms),
        slack_p50_ms=at(0.5, lambda time: time.slack_ms),
        hidden_p50_ms=None
        if any(time.hidden_ms is None for time in times)
        else at(0.5, lambda time: time.hidden_ms or 0.0),
        uncertainty_ms=at(0.5, lambda time: time.uncertainty_ms),
    )


def _gap_and_exposed_ms(turn: TurnRecord) -> list[float]:
    stages = turn.stages or {}
    return [turn.turn_gap_ms or 0.0, *(stages[stage].exposed_ms if stage in stages else 0.0 for stage in Stage)]
