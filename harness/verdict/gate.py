"""The gate: turns and evidence in, a verdict with its reasons out. Pure.

A latency limit holds when, with t of n turns over it, `binom.cdf(t, n, 1 - q) <= 1 - c`: the same as the exact upper
bound on the quantile lying within the limit. Every outcome but ANSWERED and INVALID is over every limit. INVALID turns
(the instrument's own lateness) are judged twice, all as passes and all as misses.

Without a budget the verdict is MEASURED, unless nothing can be said at all or the instrument was off. With one, what
would make the bound untrue (too few or repeated turns, drift, foreign load, ...) makes the run INVALID, never a PASS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.result import Check, Verdict
from harness.turn import Outcome, TurnRecord
from harness.verdict import stats
from harness.verdict.budget import Budget, Limit, Metric
from harness.verdict.summary import good, underran

MAX_INVALID_SHARE = 0.02
MAX_FOREIGN_CPU = 0.25
"""Share of the machine's CPU time used by processes that are neither agent nor instrument."""
MAX_INSTRUMENT_BIAS_MS = 5.0
MIN_WATCHED = 0.9
"""Share of the turns that must have a sentinel's measurement beside them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands beside the turns; None is "not known", and says so in the validity list."""

    planned_turns: int
    complete: bool
    simultaneous_calls: int = 1
    calibration_bias_ms: float | None = None
    """Largest |median error| of the calibration before the run."""
    sentinel_bias_ms: float | None = None
    """Median error of the sentinel call inside the turns' windows."""
    sentinel_samples: int = 0
    sentinel_missed: int = 0
    """Answers of the reference agent, inside the turns' windows, that the instrument did not find."""
    sentinel_watched: float | None = None
    """Share of the turns' windows in which the sentinel measured something."""
    foreign_cpu_share: float | None = None
    lost_spans: int = 0
    """Answered turns whose stages are incomplete."""
    vram_peak_mib: float | None = None
    faults: tuple[str, ...] = ()
    """What went wrong in the instrument itself, one line each."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, its one sentence, what led to it, and the validity list."""

    verdict: Verdict
    sentence: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """One limit judged: True, False, or None where no verdict can be reached."""

    holds: bool | None
    text: str
    remedy: str = field(default="")


def judge(turns: Sequence[TurnRecord], evidence: Evidence, budget: Budget | None = None) -> Judgement:
    """The verdict on the scored turns of a run."""
    scored = [turn for turn in turns if turn.scored]
    checks = _instrument_checks(scored, evidence, budgeted=budget is not None)
    if budget is None:
        broken = [check.text for check in checks if check.ok is False]
        checks += _gate_checks(scored, evidence, budgeted=False)
        if broken:
            return Judgement(Verdict.INVALID, f"Nothing is said: {broken[0]}.", tuple(broken), tuple(checks))
        return Judgement(Verdict.MEASURED, _measured(scored), (), tuple(checks))
    checks += _gate_checks(scored, evidence, budgeted=True)
    broken = [check.text for check in checks if check.ok is False]
    held = [_judge_limit(limit, scored, evidence) for limit in budget.limits]
    unknown = [item for item in held if item.holds is None]
    failed = [item.text for item in held if item.holds is False]
    if broken or unknown:
        reasons = (*broken, *(f"{item.text}: {item.remedy}" for item in unknown))
        return Judgement(Verdict.INVALID, f"No verdict on {budget.name}: {reasons[0]}.", reasons, tuple(checks))
    load = "one call at a time" if evidence.simultaneous_calls == 1 else f"{evidence.simultaneous_calls} calls at once"
    if failed:
        sentence = f"{budget.name} does not hold with {load}: {failed[0]}."
        return Judgement(Verdict.FAIL, sentence, tuple(failed), tuple(checks))
    reasons = tuple(item.text for item in held)
    return Judgement(Verdict.PASS, f"{budget.name} holds with {load}: {reasons[0]}.", reasons, tuple(checks))


def _measured(scored: Sequence[TurnRecord]) -> str:
    gaps = [turn.turn_gap_ms if good(turn) else None for turn in scored if turn.outcome is not Outcome.INVALID]
    answered = sum(turn.outcome is Outcome.ANSWERED for turn in scored)
    middle = stats.percentile(gaps, 0.5)
    if middle is None:
        return f"Measured, not judged: {answered} of {len(scored)} turns were answered."
    return (
        f"Measured, not judged: the median turn gap is {middle:.0f} ms, "
        f"and {answered} of {len(scored)} turns were answered as they should be."
    )


def _instrument_checks(scored: Sequence[TurnRecord], evidence: Evidence, *, budgeted: bool) -> list[Check]:
    """What must hold for anything to be said at all."""
    checks = [Check(name="harness", ok=False, text=fault) for fault in evidence.faults]
    usable = sum(turn.outcome is not Outcome.INVALID for turn in scored)
    spoilt = f"all {len(scored)} turns were spoilt by our own lateness: give the machine's cores to this run alone"
    trouble = spoilt if scored else "no turn was scored; run it again"
    text = f"{usable} of {len(scored)} scored turns can be judged"
    checks.append(Check(name="samples", ok=usable > 0, text=text if usable else trouble))
    missing = evidence.planned_turns - len(scored)
    whole = evidence.complete and missing <= 0
    lacks = f"needs {missing} more turns" if missing > 0 else "did not come to its end"
    remedy = f"the run {lacks}: `turngap run --resume` completes it"
    checks.append(Check(name="complete", ok=whole, text="every planned turn was placed" if whole else remedy))
    under_load = f"under this load ({evidence.sentinel_samples} samples)"
    checks.append(_bias("calibration", evidence.calibration_bias_ms, "before the run", budgeted))
    checks.append(_bias("sentinel", evidence.sentinel_bias_ms, under_load, budgeted))
    watched = evidence.sentinel_watched
    if watched is not None:
        text = f"the sentinel measured beside {watched:.0%} of the turns, {evidence.sentinel_missed} answers not found"
        good_watch = watched >= MIN_WATCHED and not evidence.sentinel_missed
        trouble = f"{text}; {MIN_WATCHED:.0%} and none are needed: run it again, in one piece"
        checks.append(_check("sentinel's watch", good_watch, text, trouble, budgeted))
    return checks


def _bias(name: str, bias_ms: float | None, when: str, budgeted: bool) -> Check:
    if bias_ms is None:
        return _check(name, False, "", f"the instrument's own error ({name}) was not measured", budgeted)
    ok = math.isfinite(bias_ms) and abs(bias_ms) <= MAX_INSTRUMENT_BIAS_MS
    advice = "" if ok else f", over {MAX_INSTRUMENT_BIAS_MS:g} ms: give the machine's cores to this run alone"
    return Check(name=name, ok=ok, text=f"the instrument's own error was {bias_ms:+.2f} ms {when}{advice}")


def _gate_checks(scored: Sequence[TurnRecord], evidence: Evidence, *, budgeted: bool) -> list[Check]:
    """What a bound on all callers' turns rests on; without a budget a failed one is stated, and decides nothing."""
    n = len(scored)
    floor = stats.n_needed(0)
    repeats = n - len({turn.utterance_id for turn in scored})
    shared = n - len({turn.call for turn in scored})
    invalid = sum(turn.outcome is Outcome.INVALID for turn in scored)
    drift = stats.drift([turn.turn_gap_ms for turn in scored if turn.outcome is not Outcome.INVALID])
    return [
        _check(
            "enough turns",
            n >= floor,
            f"{n} turns, at least {floor} are needed for a bound on p95",
            f"{n} turns carry no bound on p95: needs {floor - n} more turns",
            budgeted,
        ),
        _check(
            "distinct utterances",
            repeats == 0,
            "no utterance was said twice",
            f"{repeats} turns repeat an utterance: needs {repeats} more distinct utterances",
            budgeted,
        ),
        _check(
            "independent calls",
            shared == 0,
            "one scored turn a call",
            f"{shared} turns share a call with another: use a scenario with `turns_per_call: 1`",
            budgeted,
        ),
        _check(
            "lateness",
            invalid <= MAX_INVALID_SHARE * n,
            f"{invalid} of {n} turns were spoilt by our own lateness",
            f"{invalid} of {n} turns were spoilt by our own lateness, over {MAX_INVALID_SHARE:.0%}: "
            "give the machine's cores to this run alone",
            budgeted,
        ),
        Check(name="drift", ok=None, text="too few answered turns to tell")
        if drift is None
        else _check(
            "drift",
            not drift.drifting,
            f"the gap moved by {drift.change_ms:+.0f} ms over the run (p = {drift.p_value:.2f})",
            f"the gap drifted by {drift.change_ms:+.0f} ms over the run (p = {drift.p_value:.3f}): "
            "warm up longer, or look for heat, leaks and growing caches",
            budgeted,
        ),
        Check(name="foreign load", ok=None, text="not measured")
        if evidence.foreign_cpu_share is None
        else _check(
            "foreign load",
            evidence.foreign_cpu_share <= MAX_FOREIGN_CPU,
            f"other processes used {evidence.foreign_cpu_share:.0%} of the machine's CPU time",
            f"other processes used {evidence.foreign_cpu_share:.0%} of the machine's CPU time, "
            f"over {MAX_FOREIGN_CPU:.0%}: stop them",
            budgeted,
        ),
        _check(
            "spans",
            evidence.lost_spans == 0,
            "every answered turn has its stages",
            f"{evidence.lost_spans} answered turns have incomplete stages",
            budgeted=False,
        ),
    ]


def _check(name: str, good: bool, text: str, trouble: str, budgeted: bool) -> Check:
    if good:
        return Check(name=name, ok=True, text=text)
    return Check(name=name, ok=False if budgeted else None, text=trouble)


def _judge_limit(limit: Limit, scored: Sequence[TurnRecord], evidence: Evidence) -> _Held:
    if limit.is_latency:
        return _judge_latency(limit, scored)
    if limit.is_rate:
        return _judge_rate(limit, scored)
    if limit.metric == Metric.WER:
        return _judge_wer(limit, scored)
    if evidence.vram_peak_mib is None:
        return _Held(None, "GPU memory was not measured", "run where NVML sees a GPU, or drop `vram_peak_mib`")
    text = f"GPU memory peaked at {evidence.vram_peak_mib:.0f} MiB; budget {limit.at_most:.0f} MiB"
    return _Held(evidence.vram_peak_mib <= limit.at_most, text)


def _latency_of(limit: Limit, turn: TurnRecord) -> float | None:
    if limit.stage is not None:
        if turn.stages is None:
            return None
        return turn.stages[limit.stage].exposed_ms if limit.stage in turn.stages else 0.0
    value: float | None = getattr(turn, limit.metric)
    return value


def _judge_latency(limit: Limit, scored: Sequence[TurnRecord]) -> _Held:
    name = f"p{limit.quantile * 100:g} of {limit.metric.removesuffix('_ms').replace('_', ' ')}"
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    invalid = len(scored) - len(valid)
    answered = [turn for turn in valid if turn.outcome is Outcome.ANSWERED]
    unmeasured = sum(_latency_of(limit, turn) is None for turn in answered)
    if unmeasured or not valid:
        return _Held(None, f"{name} is not known for {unmeasured} of {len(answered)} answered turns", "needs samples")
    values = [_latency_of(limit, turn) if turn.outcome is Outcome.ANSWERED else None for turn in valid]
    over = sum(value is None or not value <= limit.at_most for value in values)
    best = stats.passes(over, len(scored), limit.quantile, limit.confidence)
    worst = stats.passes(over + invalid, len(scored), limit.quantile, limit.confidence)
    least = stats.n_needed(0, limit.quantile, limit.confidence)
    if len(scored) < least:
        return _Held(None, f"{len(scored)} turns carry no bound on {name}", f"needs {least - len(scored)} more turns")
    if best != worst:
        return _Held(None, f"the verdict on {name} hangs on {invalid} turns spoilt by our own lateness", "run it again")
    bound = stats.quantile_upper([*values, *[None] * invalid], limit.quantile, limit.confidence)
    said = "has no bound (too many turns without an answer)" if bound is None else f"is at most {bound:.0f} ms"
    text = (
        f"{name} {said} with {limit.confidence:.0%} confidence over {len(scored)} turns, {over} of them over; "
        f"budget {limit.at_most:.0f} ms"
    )
    return _Held(best, text)


def _judge_rate(limit: Limit, scored: Sequence[TurnRecord]) -> _Held:
    if limit.metric == Metric.CUT_OFF:
        name, turns = "cut-offs", list(scored)
        events = sum(turn.outcome is Outcome.CUT_OFF for turn in turns)
    else:
        name, turns = "replies that ran dry", [turn for turn in scored if turn.reply_ms is not None]
        events = sum(underran(turn) for turn in turns if turn.outcome is not Outcome.INVALID)
    n, invalid = len(turns), sum(turn.outcome is Outcome.INVALID for turn in turns)
    least = stats.n_needed(0, 1 - limit.at_most, limit.confidence)
    best, worst = (stats.rate_upper(count, n, limit.confidence) for count in (events, events + invalid))
    if best is None or worst is None or n < least:
        return _Held(
            None, f"{n} turns carry no bound of {limit.at_most:.1%} on {name}", f"needs {least - n} more turns"
        )
    if (best <= limit.at_most) != (worst <= limit.at_most):
        return _Held(None, f"the verdict on {name} hangs on {invalid} turns spoilt by our own lateness", "run it again")
    text = (
        f"{name}: {events} of {n}, at most {worst:.1%} with {limit.confidence:.0%} confidence; "
        f"budget {limit.at_most:.1%}"
    )
    return _Held(best <= limit.at_most, text)


def _judge_wer(limit: Limit, scored: Sequence[TurnRecord]) -> _Held:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    unheard = sum(good(turn) and turn.reference is not None and turn.word_errors is None for turn in valid)
    if unheard:
        text = f"the word error rate is not known: {unheard} answered turns have no transcript"
        return _Held(None, text, "an agent loses spans on its worst turns; see its log, or drop `wer` from the budget")
    counted = [(turn.word_errors, turn.words) for turn in valid if turn.word_errors is not None and turn.words]
    words = sum(n or 0 for _, n in counted)
    if not words:
        return _Held(None, "no turn has a transcript", "the agent must send its spans, or drop `wer` from the budget")
    errors, lengths = [errors or 0 for errors, _ in counted], [n or 0 for _, n in counted]
    upper = stats.ratio_upper(errors, lengths, limit.confidence)
    text = (
        f"word error rate {sum(errors) / words:.1%}, at most {upper:.1%} with {limit.confidence:.0%} confidence over "
        f"{words} words of {len(counted)} turns; budget {limit.at_most:.1%}"
    )
    return _Held(upper <= limit.at_most, text)
