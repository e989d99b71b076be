"""The gate: it makes a verdict with its reasons from turns and evidence. Pure.

PASS: every limit is shown to be met; FAIL: one is shown to be missed; NOT SHOWN: neither. A limit on a latency or a
rate is decided by the run's stopping plan (`turngap.verdict.plan`), or by the exact binomial test on all turns if the
run has none. Every outcome but ANSWERED and INVALID is over every limit. INVALID turns (the instrument was late) are
judged twice: all as passes, and all as misses.

Without a budget the verdict is MEASURED, unless there is no result at all or the instrument was wrong. With a budget,
whatever makes the plan's probabilities untrue (too few or repeated turns, drift, foreign load, ...) makes the run
INVALID, never PASS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from turngap.model.plural import plural
from turngap.model.result import Check, Verdict
from turngap.model.stopping import StoppingPlan
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import content_sample, measures, replaced, sound, stats, validity
from turngap.verdict.budget import Budget
from turngap.verdict.counts import Count, count_misses
from turngap.verdict.limits import WORD_METRICS, LimitState, judge_budget
from turngap.verdict.summary import perceived_gaps
from turngap.verdict.validity import Evidence

__all__ = ["Evidence", "Judgement", "judge_run"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, its sentence, its reasons, and the validity checks."""

    verdict: Verdict
    sentence: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


def judge_run(
    turns: Sequence[TurnRecord],
    evidence: Evidence,
    budget: Budget | None = None,
    plan: StoppingPlan | None = None,
) -> Judgement:
    """Return the verdict on the scored turns of a run, which are in the order of the calls.

    `plan` is the run's stopping plan; a run without one is judged once, by all its turns.
    """
    scored = [turn for turn in turns if turn.scored]
    checks = validity.instrument_checks(scored, evidence, budgeted=budget is not None)
    sound_check = sound.check_sound(turns, budgeted=budget is not None)
    checks += [sound_check] if sound_check is not None else []
    if budget is None:
        broken = [check.text for check in checks if check.ok is False]
        checks += validity.bound_checks(scored, evidence, budgeted=False, over=_over_a_limit(scored, None))
        if nothing := _describe_silence(scored, evidence):
            checks.append(Check(name="answers", ok=False, text=nothing))
            broken.append(nothing)
        elif wrong := _describe_no_good_answer(scored):
            checks.append(Check(name="answers", ok=None, text=wrong, warning=True))
        if broken:
            return Judgement(Verdict.INVALID, f"No result: {broken[0]}.", tuple(broken), tuple(checks))
        spoilt = f" But {sound_check.text}." if sound_check is not None and sound_check.warning else ""
        return Judgement(Verdict.MEASURED, _describe_measured(scored) + spoilt, (), tuple(checks))
    checks += validity.bound_checks(scored, evidence, budgeted=True, over=_over_a_limit(scored, budget))
    broken = [check.text for check in checks if check.ok is False and check.name != "sound"]
    aside = replaced.check_relation(
        _over_a_limit(replaced.without_lateness(turns), budget), _over_a_limit(scored, budget)
    )
    checks += [aside] if aside is not None else []
    checks += [content_sample.check_content(evidence.content)] if evidence.content is not None else []
    limits = [limit for limit in budget.limits if not (evidence.weightless and limit.metric in WORD_METRICS)]
    if len(limits) < len(budget.limits):
        checks.append(Check(name="word errors", ok=None, text="not judged: random weights understand no words"))
    if not limits:
        broken.append("the budget limits word errors only, and random weights understand no words")
    judged = budget.model_copy(update={"limits": tuple(limits)})
    results = judge_budget(judged, scored, evidence, plan, ended=len(scored) >= evidence.planned_turns)
    unknown = [item for item in results if item.state is LimitState.NOT_JUDGED]
    excused = [item for item in unknown if item.needs_spans] if _knows_replies(scored) else []
    left_out = ""
    if excused and len(excused) < len(results):
        unknown = [item for item in unknown if item not in excused]
        left_out = f" Not judged, because the agent sends no spans: {'; '.join(item.text for item in excused)}."
        text = f"not judged, because the agent sends no spans: {'; '.join(item.text for item in excused)}"
        checks.append(Check(name="limits", ok=None, text=text))
    failed = tuple(item.text for item in results if item.state is LimitState.OVER)
    open_ = tuple(item.text for item in results if item.state is LimitState.NEITHER)
    load = "one call at a time" if evidence.simultaneous_calls == 1 else f"{evidence.simultaneous_calls} calls at once"
    if failed and not broken:
        return Judgement(Verdict.FAIL, f"{budget.name} does not hold with {load}: {failed[0]}.", failed, tuple(checks))
    no_excuse = ("called again", "content", "sound")  # for FAIL
    broken += [check.text for check in checks if check.name in no_excuse and check.ok is False]
    if broken or unknown:
        reasons = (*broken, *(f"{item.text}: {item.remedy}" if item.remedy else item.text for item in unknown))
        return Judgement(Verdict.INVALID, f"No verdict on {budget.name}: {reasons[0]}.", reasons, tuple(checks))
    if open_:
        sentence = f"{budget.name} is not shown to hold with {load}: {open_[0]}.{left_out}"
        return Judgement(Verdict.NOT_SHOWN, sentence, open_, tuple(checks))
    reasons = tuple(item.text for item in results if item not in excused)
    assumes = next((f" {item.assumes}" for item in results if item.assumes), "")
    return Judgement(
        Verdict.PASS, f"{budget.name} holds with {load}: {reasons[0]}.{assumes}{left_out}", reasons, tuple(checks)
    )


def _knows_replies(scored: Sequence[TurnRecord]) -> bool:
    """Return whether it is known of every answered turn what was said: its reply was transcribed.

    An agent without spans may then pass a budget of which some limits need spans: what it said was no mere sound.
    """
    answered = [turn for turn in scored if turn.expectation.needs_answer and turn.is_good]
    return bool(answered) and all(turn.substance_gap_ms is not None for turn in answered)


def _over_a_limit(scored: Sequence[TurnRecord], budget: Budget | None) -> list[bool]:
    """Return, for each valid turn that needs an answer, whether it is over a limit on the time of its answer.

    A turn that was not answered as it should be is over every limit.
    """
    turns = [turn for turn in scored if turn.expectation.needs_answer and turn.outcome is not Outcome.INVALID]
    over = [not turn.is_good for turn in turns]
    for limit in () if budget is None else budget.limits:
        if not limit.is_latency or limit.metric in measures.REACTIONS_BY_METRIC:
            continue
        count = count_misses(limit, turns)
        if isinstance(count, Count):
            over = [one or bool(other) for one, other in zip(over, count.over, strict=True)]
    return over


def _describe_silence(scored: Sequence[TurnRecord], evidence: Evidence) -> str | None:
    """Say that no turn was answered, and what to look at; None where one was, or none was to be.

    Such a run measures nothing of the agent. Under a budget it is judged all the same: every turn is over.
    """
    expected = [turn for turn in scored if turn.expectation.needs_answer and turn.outcome is not Outcome.INVALID]
    if not expected or any(turn.outcome not in (Outcome.MISSED, Outcome.FAILED) for turn in expected):
        return None
    counts = Counter(turn.outcome for turn in expected)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    first = next((f"; the first: {turn.detail}" for turn in expected if turn.detail), "")
    which = "the 1 turn was not answered" if len(expected) == 1 else f"none of the {len(expected)} turns was answered"
    log = "the agent's log" if evidence.external_agent else "agent.log in the run folder"
    audio = (
        "listen to what it sent (the recordings in calls/ of the run folder)"
        if any(turn.first_byte_ms is not None for turn in expected)
        else "check that it sends audio back on the stream"
    )
    return f"{which} ({outcomes}{first}): look at {log}, and {audio}"


def _describe_no_good_answer(scored: Sequence[TurnRecord]) -> str | None:
    """Say why there are no figures although the agent spoke; None where a turn was answered as it should be."""
    expected = [turn for turn in scored if turn.expectation.needs_answer and turn.outcome is not Outcome.INVALID]
    if not expected or any(turn.is_good for turn in expected):
        return None
    counts = Counter(turn.outcome for turn in expected)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return (
        f"there are no figures, because no turn was answered as it should be ({outcomes}): compare what the agent "
        "understood with what was said, in the report's turns; the profile `scripted` never listens to the words. The "
        "times of each turn are in turns.jsonl"
    )


def _describe_measured(scored: Sequence[TurnRecord]) -> str:
    valid = [turn for turn in scored if turn.outcome is not Outcome.INVALID]
    gaps = [turn.turn_gap_ms if turn.is_good else None for turn in valid if turn.expectation.needs_answer]
    went = f"{sum(turn.is_good for turn in valid)} of {plural(len(valid), 'turn')} {_how_they_went(valid)}"
    if invalid := len(scored) - len(valid):
        went = f"{went}; {invalid} more {'is' if invalid == 1 else 'are'} invalid"
    median_ms = stats.percentile(gaps, 0.5)
    perceived_ms = stats.percentile(perceived_gaps(valid), 0.5)
    if median_ms is None or perceived_ms is None:
        return f"Not judged: {went}."
    median = f"median turn gap {median_ms:.0f} ms ({perceived_ms:.0f} ms as the caller hears it)"
    answered = [turn for turn in valid if turn.expectation.needs_answer]
    known = not any(turn.is_good and turn.substance_gap_ms is None for turn in answered)
    content_ms = stats.percentile([turn.substance_gap_ms if turn.is_good else None for turn in answered], 0.5)
    if known and content_ms is not None and content_ms - median_ms >= 1:
        median += f", {content_ms:.0f} ms to the first content"
    return f"Not judged: {median}; {went}."


def _how_they_went(scored: Sequence[TurnRecord]) -> str:
    single = len(scored) == 1
    if all(turn.expectation.needs_answer for turn in scored):
        return "was answered as it should be" if single else "were answered as they should be"
    return "went as it should" if single else "went as they should"
