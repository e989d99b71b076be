"""One limit of a budget against the turns of a run: it holds, it does not hold, or neither can be shown. Pure.

Invalid turns are judged twice, all as passes and all as misses: if that makes a difference,
there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.figures import WordErrors
from turngap.model.plural import plural
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import conversation, measures, stats
from turngap.verdict.budget import Limit, Metric
from turngap.verdict.validity import Evidence

WORD_METRICS = {Metric.WER: "", Metric.WER_CLEAN: conversation.CLEAN, Metric.WER_NOISY: conversation.NOISY}
"""The metrics of word errors, each with the condition of its turns; "" for all."""


@dataclass(frozen=True, slots=True)
class LimitResult:
    """The result of judging one limit."""

    holds: bool | None
    """None if there is no verdict."""
    text: str
    remedy: str = ""
    missing: int = 0
    """How many turns are missing for a verdict."""


def judge_limit(limit: Limit, scored: Sequence[TurnRecord], evidence: Evidence) -> LimitResult:
    """Judge one limit on the scored turns of a run."""
    if limit.is_latency:
        return _latency(limit, scored)
    if limit.is_rate:
        return _judge_rate(limit, scored)
    if limit.metric in WORD_METRICS:
        return _judge_wer(limit, scored)
    if limit.metric == Metric.WASTED_SHARE:
        return _judge_wasted(limit, scored)
    if evidence.vram_peak_mib is None:
        return LimitResult(None, "GPU memory was not measured", "run where NVML finds a GPU, or drop `vram_peak_mib`")
    text = f"GPU memory peaked at {evidence.vram_peak_mib:.0f} MiB; budget {limit.at_most:.0f} MiB"
    return LimitResult(evidence.vram_peak_mib <= limit.at_most, text)


def _latency(limit: Limit, scored: Sequence[TurnRecord]) -> LimitResult:
    name = f"p{limit.quantile * 100:g} of {limit.metric.removesuffix('_ms').replace('_', ' ')}"
    reaction = measures.REACTIONS_BY_METRIC.get(limit.metric)
    turns = [turn for turn in scored if (turn.expectation.needs_answer if reaction is None else reaction.applies(turn))]
    valid = [turn for turn in turns if turn.outcome is not Outcome.INVALID]
    n, invalid = len(turns), len(turns) - len(valid)
    if reaction is None:
        answered = [turn for turn in valid if turn.is_good]
        unmeasured = sum(_limited_time_ms(limit, turn) is None for turn in answered)
        if unmeasured or not valid:
            text = f"{name} is not known for {unmeasured} of {len(answered)} answered turns"
            return LimitResult(None, text, "run with an agent whose turns have it")
        values = [_limited_time_ms(limit, turn) if turn.is_good else None for turn in valid]
    else:
        if not valid:
            return LimitResult(
                None, f"{name} is not known: the run had no {reaction.kinds}", "use a scenario that has them"
            )
        values = [reaction.value(turn) for turn in valid]
    over = sum(value is None or not value <= limit.at_most for value in values)
    best = stats.shows_quantile(over, n, limit.quantile, limit.confidence)
    worst = stats.shows_quantile(over + invalid, n, limit.quantile, limit.confidence)
    least = stats.n_needed(0, limit.quantile, limit.confidence)
    if n < least:
        sample = "turn" if reaction is None else reaction.kinds.removesuffix("s")
        return LimitResult(None, _more_needed(least - n, sample, f"limit on {name}"), missing=least - n)
    if best != worst:
        return LimitResult(None, f"the verdict on {name} depends on {plural(invalid, 'invalid turn')}", "run it again")
    bound = stats.quantile_upper([*values, *[None] * invalid], limit.quantile, limit.confidence)
    result = "has no bound (too many turns without an answer)" if bound is None else f"is at most {bound:.0f} ms"
    text = (
        f"{name} {result} with {limit.confidence:.0%} confidence over {plural(n, 'turn')}, {over} of them over; "
        f"budget {limit.at_most:.0f} ms"
    )
    return LimitResult(best, text)


def _more_needed(count: int, sample: str, limit: str) -> str:
    """Return `one more turn is needed for the underrun limit`, `3 more turns are needed for ...`."""
    return (
        f"one more {sample} is needed for the {limit}"
        if count == 1
        else f"{count} more {sample}s are needed for the {limit}"
    )


def _limited_time_ms(limit: Limit, turn: TurnRecord) -> float | None:
    if limit.stage is not None:
        if turn.stages is None:
            return None
        return turn.stages[limit.stage].exposed_ms if limit.stage in turn.stages else 0.0
    value: float | None = getattr(turn, limit.metric)
    return value


def _judge_rate(limit: Limit, scored: Sequence[TurnRecord]) -> LimitResult:
    share = measures.SHARES_BY_METRIC[limit.metric]
    turns = [turn for turn in scored if share.applies(turn)]
    n, invalid = len(turns), sum(turn.outcome is Outcome.INVALID for turn in turns)
    events = sum(share.is_event(turn) for turn in turns if turn.outcome is not Outcome.INVALID)
    least = stats.n_needed(0, 1 - limit.at_most, limit.confidence)
    best, worst = (stats.rate_upper(count, n, limit.confidence) for count in (events, events + invalid))
    if best is None or worst is None or n < least:
        return LimitResult(None, _more_needed(least - n, share.sample, f"{share.limit_name} limit"), missing=least - n)
    if (best <= limit.at_most) != (worst <= limit.at_most):
        text = f"the verdict on {share.label} depends on {plural(invalid, 'invalid turn')}"
        return LimitResult(None, text, "run it again")
    text = (
        f"{share.label}: {events} of {n}, at most {worst:.1%} with {limit.confidence:.0%} confidence; "
        f"budget {limit.at_most:.1%}"
    )
    return LimitResult(best <= limit.at_most, text)


def _judge_wer(limit: Limit, scored: Sequence[TurnRecord]) -> LimitResult:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID and turn.expectation.needs_answer]
    kind = WORD_METRICS[Metric(limit.metric)]
    turns = conversation.select_condition(valid, kind) if kind else valid
    name = f"word error rate of {kind} turns" if kind else "word error rate"
    without = sum(turn.is_good and turn.reference is not None and turn.word_errors is None for turn in turns)
    if without and all(turn.transcript is None for turn in turns):
        text = f"the {name} is not known: no turn has a transcript, because the agent sent no spans"
        remedy = f"use a budget that limits only what is heard, such as edge500-audio, or drop `{limit.metric}`"
        return LimitResult(None, text, remedy)
    if without:
        text = f"the {name} is not known: {without} answered turns have no transcript"
        remedy = f"the agent lost their spans; see its log, or drop `{limit.metric}` from the budget"
        return LimitResult(None, text, remedy)
    errors: WordErrors | None = conversation.pool_word_errors(turns, limit.confidence)
    if errors is None:
        remedy = f"the agent must send its spans, or drop `{limit.metric}` from the budget"
        return LimitResult(None, f"no {kind + ' ' if kind else ''}turn has a transcript", remedy)
    text = (
        f"{name} {errors.wer:.1%}, at most {errors.upper:.1%} with {limit.confidence:.0%} confidence over "
        f"{plural(errors.words, 'word')} of {plural(errors.turns, 'turn')}; budget {limit.at_most:.1%}"
    )
    return LimitResult(errors.upper <= limit.at_most, text)


def _judge_wasted(limit: Limit, scored: Sequence[TurnRecord]) -> LimitResult:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    work = conversation.pool_wasted_work(valid, limit.confidence)
    unreported = sum(turn.wasted_ms is None for turn in valid)
    if work is None or work.share is None or work.upper is None or unreported:
        text = f"wasted work is not known for {unreported} of {plural(len(valid), 'turn')}"
        return LimitResult(
            None, text, "the agent must report its work in its spans, or drop `wasted_share` from the budget"
        )
    text = (
        f"wasted work {work.share:.1%}, at most {work.upper:.1%} with {limit.confidence:.0%} confidence over "
        f"{plural(work.turns, 'turn')}; budget {limit.at_most:.1%}"
    )
    return LimitResult(work.upper <= limit.at_most, text)
