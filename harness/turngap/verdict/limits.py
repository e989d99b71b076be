"""Each limit of a budget against the turns of a run: shown to be met or missed, neither, or not judged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.budget import WORD_METRICS
from turngap.model.figures import WordErrors
from turngap.model.plural import plural
from turngap.model.stopping import StoppingPlan
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import conversation, stats, stopping
from turngap.verdict.budget import Budget, Limit, Metric
from turngap.verdict.counts import count_misses, judge_count
from turngap.verdict.limit_result import LimitResult, LimitState, not_judged
from turngap.verdict.validity import Evidence
from turngap.verdict.word_errors import pool_word_errors

__all__ = ["WORD_METRICS", "LimitResult", "LimitState", "judge_budget", "judge_limit"]

_CUT_OFFS = frozenset({Metric.CUT_OFF, Metric.PAUSE_CUT_OFF})
_IN_RECORDINGS = frozenset(
    {
        Metric.TURN_GAP,
        Metric.PERCEIVED_GAP,
        Metric.MISSED,
        Metric.TALKED_OVER,
        Metric.BARGE_IN_STOP,
        Metric.TALK_OVER,
        Metric.WENT_ON,
        *_CUT_OFFS,
    }
)
"""What two channels of sound can say. A cut-off needs ends that are known; of a short interruption that stops the agent
they don't say whether it was a backchannel, nor of a silence whether playout ran dry, nor what was understood."""
_CONDITIONS = {Metric.WER: "", Metric.WER_CLEAN: conversation.CLEAN, Metric.WER_NOISY: conversation.NOISY}
"""The condition of the turns of each metric of word errors; "" for all."""


def judge_budget(
    budget: Budget,
    scored: Sequence[TurnRecord],
    evidence: Evidence,
    plan: StoppingPlan | None = None,
    *,
    ended: bool = True,
) -> list[LimitResult]:
    """Judge each limit of the budget on the scored turns of a run.

    `plan` is the run's stopping plan; without one each limit is judged once. `ended`: all planned turns were called.
    """
    return [
        judge_limit(limit, scored, evidence, plan, ended=ended, limits=len(budget.limits)) for limit in budget.limits
    ]


def judge_limit(
    limit: Limit,
    scored: Sequence[TurnRecord],
    evidence: Evidence,
    plan: StoppingPlan | None = None,
    *,
    ended: bool = True,
    limits: int = 1,
) -> LimitResult:
    """Judge one of `limits` limits on the scored turns of a run, in their order."""
    if evidence.recorded and limit.metric not in _IN_RECORDINGS:
        text = f"`{limit.metric}` is not known from a recording"
        return not_judged(text, f"drop `{limit.metric}`, or measure with `turngap run`")
    if not evidence.ends_known and limit.metric in _CUT_OFFS:
        text = f"`{limit.metric}` is not known from a recording, as its ends of speech are found"
        return not_judged(text, f"drop `{limit.metric}`, give `--labels`, or measure with `turngap run`")
    if limit.is_latency or limit.is_rate:
        count = count_misses(limit, scored)
        if isinstance(count, LimitResult):
            return count
        own = stopping.find_plan(plan, limit)
        if own is None or (plan is not None and plan.kind == "fixed" and ended):
            bursts = 1 if plan is None else plan.bursts
            own = stopping.plan_after(limit, max(count.turns, 1), limits, bursts)
        return judge_count(limit, count, own, ended=ended)
    if limit.metric == Metric.VRAM:
        return _judge_vram(limit, evidence)
    return _judge_sum(limit, scored, plan, ended=ended, limits=limits)


def _judge_sum(
    limit: Limit, scored: Sequence[TurnRecord], plan: StoppingPlan | None, *, ended: bool, limits: int
) -> LimitResult:
    """Judge word errors or wasted work at each look that was due; the first that shows something stands.

    Each look is at the same first valid turns however often it is asked for, and at its share of the level, so that all
    looks together keep the level. The last look is at the end of the run, at all its turns.
    """
    judge = _judge_wer if limit.metric in WORD_METRICS else _judge_wasted
    level = 1 - limit.confidence
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    looks = list(zip(plan.looks, plan.shares, strict=True)) if plan is not None else [(0, 1.0)]
    result = LimitResult(LimitState.NEITHER, f"{limit.metric} is not judged after so few turns")
    for number, (turns, share) in enumerate(looks, 1):
        last = number == len(looks)
        if (last and not ended) or (not last and len(valid) < turns):
            continue
        once = limit.model_copy(update={"confidence": 1 - share * level})
        # One limit is enough for FAIL, so their number divides the level of a false one.
        result = judge(once, scored if last else valid[:turns], 1 - share * level / limits)
        if result.state in (LimitState.WITHIN, LimitState.OVER):
            break
    return result


def _judge_vram(limit: Limit, evidence: Evidence) -> LimitResult:
    if evidence.vram_peak_mib is None:
        return not_judged("GPU memory was not measured", "run where NVML finds a GPU, or drop `vram_peak_mib`")
    text = f"GPU memory peaked at {evidence.vram_peak_mib:.0f} MiB; budget {limit.at_most:.0f} MiB"
    return LimitResult(LimitState.WITHIN if evidence.vram_peak_mib <= limit.at_most else LimitState.OVER, text)


def _judge_wer(limit: Limit, scored: Sequence[TurnRecord], sure_over: float) -> LimitResult:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID and turn.expectation.needs_answer]
    kind = _CONDITIONS[Metric(limit.metric)]
    turns = conversation.select_condition(valid, kind) if kind else valid
    name = f"word error rate of {kind} turns" if kind else "word error rate"
    if any(turn.is_good for turn in turns) and all(turn.transcript is None for turn in turns):
        text = f"the {name} is not known: no turn has a transcript, because the agent sent no spans"
        remedy = f"use a budget that limits only what is heard, such as edge500-audio, or drop `{limit.metric}`"
        return not_judged(text, remedy, needs_spans=_sends_no_spans(valid))
    errors: WordErrors | None = pool_word_errors(turns, limit.confidence)
    if errors is None:
        remedy = f"the agent must send its spans, or drop `{limit.metric}` from the budget"
        return not_judged(f"no {kind + ' ' if kind else ''}turn has a transcript", remedy)
    missed = f", {errors.without_transcript} of them without a transcript" if errors.without_transcript else ""
    seen = f"{plural(errors.words, 'word')} of {plural(errors.turns, 'turn')}{missed}; budget {limit.at_most:.1%}"
    text = (
        f"{name} {errors.wer:.1%}, at most {errors.upper:.1%} with {_percent(limit.confidence)} confidence over {seen}"
    )
    lost = sum(turn.is_good and turn.reference is not None and turn.word_errors is None for turn in turns)
    remedy = f"{plural(lost, 'answered turn')} lost their spans: see the agent's log" if lost else ""
    if errors.upper <= limit.at_most:
        return LimitResult(LimitState.WITHIN, text, remedy)
    sure = pool_word_errors(turns, sure_over) if errors.wer > limit.at_most else None
    if sure is not None and sure.lower is not None and sure.lower > limit.at_most:
        text = f"{name} {errors.wer:.1%}, at least {sure.lower:.1%} with {_percent(sure_over)} confidence over {seen}"
        return LimitResult(LimitState.OVER, text, remedy)
    return LimitResult(LimitState.NEITHER, text, remedy)


def _judge_wasted(limit: Limit, scored: Sequence[TurnRecord], sure_over: float) -> LimitResult:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    work = conversation.pool_wasted_work(valid, limit.confidence)
    unreported = sum(turn.wasted_ms is None for turn in valid)
    if work is None or work.share is None or work.upper is None or unreported:
        text = f"wasted work is not known for {unreported} of {plural(len(valid), 'turn')}"
        remedy = "the agent must report its work in its spans, or drop `wasted_share` from the budget"
        return not_judged(text, remedy, needs_spans=_sends_no_spans(valid))
    seen = f"{plural(work.turns, 'turn')}; budget {limit.at_most:.1%}"
    share = f"wasted work {work.share:.1%}"
    text = f"{share}, at most {work.upper:.1%} with {_percent(limit.confidence)} confidence over {seen}"
    if work.upper <= limit.at_most:
        return LimitResult(LimitState.WITHIN, text)
    useful_ms = [round(turn.compute_ms or 0.0) for turn in valid]
    all_ms = [useful + round(turn.wasted_ms or 0.0) for useful, turn in zip(useful_ms, valid, strict=True)]
    lower = 1 - stats.ratio_upper(useful_ms, all_ms, sure_over)
    if lower > limit.at_most:
        text = f"{share}, at least {lower:.1%} with {_percent(sure_over)} confidence over {seen}"
        return LimitResult(LimitState.OVER, text)
    return LimitResult(LimitState.NEITHER, text)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.3g}%"


def _sends_no_spans(valid: Sequence[TurnRecord]) -> bool:
    """Return whether no turn has anything that only spans say."""
    return all(turn.transcript is None and turn.stages is None and turn.attempts is None for turn in valid)
