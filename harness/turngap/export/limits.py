"""The limits of a run's budget as judged from its stored turns, for the exports that list them. Pure."""

from __future__ import annotations

from turngap.model.recorded import ENDS_BY_HAND
from turngap.recordings.judgement import make_evidence
from turngap.store.folder import StoredRun
from turngap.verdict.budget import Limit
from turngap.verdict.limits import LimitResult, judge_budget
from turngap.verdict.validity import Evidence


def judge_limits(run: StoredRun) -> list[tuple[Limit, LimitResult]]:
    """Return each limit of the budget with what the run's scored turns show of it; [] without a budget."""
    budget, record = run.record.budget, run.record
    if budget is None:
        return []
    scored = [turn for turn in run.turns if turn.scored]
    if record.recording is not None:
        by_hand = record.recording.sentence == ENDS_BY_HAND
        evidence = make_evidence(scored, record.recording.gap_uncertainty_ms, by_hand=by_hand)
    else:
        evidence = Evidence(
            planned_turns=record.planned_turns,
            complete=record.complete,
            simultaneous_calls=record.simultaneous_calls,
            vram_peak_mib=max((gpu.used_peak_mib for gpu in record.gpus), default=None) if record.gpus else None,
        )
    ended = len(scored) >= record.planned_turns
    results = judge_budget(budget, scored, evidence, record.stopping_plan, ended=ended)
    return list(zip(budget.limits, results, strict=True))


def name_limit(limit: Limit) -> str:
    """Return the limit in a few words: "turn_gap_ms p95 at most 500"."""
    quantile = f" p{100 * limit.quantile:g}" if limit.is_latency else ""
    return f"{limit.metric}{quantile} at most {limit.at_most:g}"
