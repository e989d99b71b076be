"""The figures of a run from its turns: percentiles, stages, rates. Pure; what `run.json` says of turns is made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from turngap_agent.profile.sections import Price
from turngap_agent.tracing import Stage

from turngap.model.figures import CorpusFigures, CostFigures, Source, StageFigures
from turngap.model.result import RunRecord
from turngap.model.turn import GOOD, Outcome, StageTime, TurnRecord
from turngap.verdict import conversation, stats
from turngap.verdict.measures import to_be_answered

Turns = Sequence[TurnRecord]


def valid_turns(turns: Iterable[TurnRecord]) -> tuple[TurnRecord, ...]:
    """The turns a figure may rest on: neither warm-up nor invalid."""
    return tuple(turn for turn in turns if turn.scored and turn.outcome is not Outcome.INVALID)


def compute_figures(turns: Turns) -> dict[str, Any]:
    """The fields of `RunRecord` that rest on turns.

    Latencies are those of the scored turns that were to be answered, but for the invalid ones; one that was not
    answered as it should be counts as later than any other, as it does for the gate. Stages are those of answered turns
    that have spans.
    """
    counted = valid_turns(turns)
    timed = [turn for turn in counted if to_be_answered(turn)]
    outcomes = Counter(turn.outcome for turn in turns if turn.scored)
    words = conversation.pool_word_errors(counted)
    talk = conversation.conversation_figures(counted)
    spare = [turn.attempts - to_be_answered(turn) for turn in counted if turn.attempts is not None]
    return {
        "n_turns": sum(outcomes.values()),
        "outcomes": {outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        "turn_gap_ms": stats.latency_figures([turn.turn_gap_ms if good(turn) else None for turn in timed]),
        "turn_gap_frame_ms": stats.latency_figures([turn.turn_gap_frame_ms if good(turn) else None for turn in timed]),
        "perceived_gap_ms": stats.latency_figures([turn.perceived_gap_ms if good(turn) else None for turn in timed]),
        "first_byte_ms": stats.latency_figures([turn.first_byte_ms if good(turn) else None for turn in timed]),
        "stages": stage_figures(counted),
        "wer": None if words is None else words.wer,
        "wer_upper": None if words is None else words.upper,
        "cut_off_rate": talk.rates["cut_off_rate"],
        "underrun_rate": talk.rates["underrun_rate"],
        "wasted_attempts": sum(max(0, count) for count in spare) if spare else None,
        "conversation": talk,
    }


def good(turn: TurnRecord) -> bool:
    """It went as it should: answered; or held, where nothing was to be answered."""
    return turn.outcome in GOOD


def stage_figures(turns: Iterable[TurnRecord]) -> dict[Stage, StageFigures]:
    """Each stage over the answered turns that have it."""
    found: dict[Stage, list[StageTime]] = {}
    for turn in turns:
        if good(turn) and turn.stages:
            for stage, time in turn.stages.items():
                found.setdefault(stage, []).append(time)
    return {stage: _stage(found[stage]) for stage in Stage if stage in found}


def corpus_figures(turns: Turns, sources: dict[str, str]) -> CorpusFigures:
    """What was said in the scored turns; `sources` tells where the audio of an utterance came from."""
    said = {turn.utterance_id: turn for turn in turns if turn.scored}
    origins = Counter(sources.get(utterance, "unknown") for utterance in said)
    return CorpusFigures(
        distinct_utterances=len(said),
        synthetic=sum(turn.synthetic_caller for turn in said.values()),
        strata=dict(sorted(Counter(turn.stratum for turn in said.values()).items())),
        sources=tuple(Source(source=source, utterances=count) for source, count in origins.most_common()),
    )


def label_uncertainty_ms(turns: Turns) -> tuple[float | None, float | None]:
    """Median move of the end-of-speech labels, ms, when the thresholds move by -5 dB and by +5 dB."""
    counted = valid_turns(turns)
    if not counted:
        return None, None
    return (
        float(np.median([turn.label_low_ms for turn in counted])),
        float(np.median([turn.label_high_ms for turn in counted])),
    )


def recompute_figures(record: RunRecord, turns: Turns) -> RunRecord:
    """`record` with its figures made anew from `turns`: for a run that did not live to write its own."""
    low, high = label_uncertainty_ms(turns)
    instrument = record.instrument.model_copy(update={"label_low_ms": low, "label_high_ms": high})
    said = record.corpus
    if not said.distinct_utterances:
        said = corpus_figures(turns, {})
    return record.model_copy(update=compute_figures(turns) | {"instrument": instrument, "corpus": said})


def _stage(times: list[StageTime]) -> StageFigures:
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
    )


def perceived_gaps(turns: Sequence[TurnRecord]) -> list[float | None]:
    """Perceived gaps of the turns that were to be answered; every outcome but "answered" counts as later than any."""
    return [turn.perceived_gap_ms if good(turn) else None for turn in turns if to_be_answered(turn)]


def representative_turn(turns: Sequence[TurnRecord]) -> TurnRecord | None:
    """The answered turn whose gap and exposed times are nearest the medians, in ms added up; one with stages if any."""
    answered = [turn for turn in valid_turns(turns) if good(turn) and turn.turn_gap_ms is not None]
    pool = [turn for turn in answered if turn.stages] or answered
    if not pool:
        return None
    vectors = [_vector(turn) for turn in pool]
    medians = [stats.percentile(column, 0.5) or 0.0 for column in zip(*vectors, strict=True)]
    away = [sum(abs(a - b) for a, b in zip(vector, medians, strict=True)) for vector in vectors]
    return pool[away.index(min(away))]


def worst_turn(turns: Sequence[TurnRecord]) -> TurnRecord | None:
    """The scored turn with the longest gap that was heard, whatever its outcome; unanswered ones have no path."""
    heard = [turn for turn in valid_turns(turns) if turn.turn_gap_ms is not None]
    pool = [turn for turn in heard if turn.path] or heard
    return max(pool, key=lambda turn: turn.turn_gap_ms or 0.0, default=None)


def _vector(turn: TurnRecord) -> list[float]:
    stage_figures = turn.stages or {}
    return [
        turn.turn_gap_ms or 0.0,
        *(stage_figures[stage].exposed_ms if stage in stage_figures else 0.0 for stage in Stage),
    ]


_MINUTES_AN_HOUR = 60


def compute_cost(
    price: Price | None, simultaneous_calls: int, call_s: float, answered_turns: int
) -> CostFigures | None:
    """Cost = price an hour x the machine's wall time, shared by the calls that go on at once; None without a price.

    `simultaneous_calls` (N) share the machine, and `call_s` is the length of all calls together, in seconds:

        a call minute    = price an hour / 60 / N
        an answered turn = a call minute x (call_s / 60) / answered turns

    The machine is taken to be busy with N calls all the time, which is the least that a minute can cost; its start and
    the calibration are not counted. The second figure is None where no turn was answered.
    """
    if price is None:
        return None
    call_minute = price.an_hour / _MINUTES_AN_HOUR / simultaneous_calls
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
    )
