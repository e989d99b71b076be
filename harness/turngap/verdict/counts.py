"""Limits on quantiles and rates: which turns are over one, and what their number shows. Pure.

Invalid turns are judged twice, all as passes and all as misses: if that makes a difference, there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats as distributions

from turngap.model.budget import SUBSTANCE, name_metric
from turngap.model.plural import plural
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict import measures, stats
from turngap.verdict.budget import Limit
from turngap.verdict.limit_result import LimitResult, LimitState, not_judged
from turngap.verdict.plan import Plan
from turngap.verdict.probabilities import turns_against_bursts

BURST = 3
"""A PASS says where it would not hold if turns over a limit came in runs of this mean length."""
MOST_TURNS = 5000
"""No larger run is suggested."""


@dataclass(frozen=True, slots=True)
class Count:
    """The turns that a limit is about, in the order of the run."""

    over: tuple[bool | None, ...]
    """Whether each turn is over the limit; None for an invalid turn."""
    values: tuple[float | None, ...]
    """Of a latency: the valid turns' times in ms, None for a turn that counts as later than any other."""
    sample: str
    """One of them, in the singular."""

    def first(self, turns: int) -> Count:
        """Return the count of the first so many turns."""
        over = self.over[:turns]
        return Count(over, self.values[: sum(each is not None for each in over)], self.sample)

    @property
    def turns(self) -> int:
        """How many turns there are, invalid ones included."""
        return len(self.over)

    @property
    def invalid(self) -> int:
        """How many of them are invalid."""
        return sum(each is None for each in self.over)

    @property
    def misses(self) -> int:
        """How many of the valid ones are over the limit."""
        return sum(each is True for each in self.over)


def count_misses(limit: Limit, scored: Sequence[TurnRecord]) -> Count | LimitResult:
    """Return which turns are over a limit on a latency or a rate, or why that is not known."""
    return _count_events(limit, scored) if limit.is_rate else _count_late(limit, scored)


def find_state(count: Count, plan: Plan) -> LimitState:
    """Return what the turns of a run that is under way show, whatever its invalid turns would have been.

    The first that is shown stands, whatever comes later: the plan's level is for ever showing it. Without words, which
    cost more: it is asked after each turn.
    """
    return _find_first(count, plan)[0]


def judge_count(limit: Limit, count: Count, plan: Plan, *, ended: bool) -> LimitResult:
    """Judge what was counted by the plan; `ended`: the run has all its turns, and is looked at for the last time."""
    state, turns = _find_first(count, plan)
    if state is LimitState.OVER:
        return LimitResult(LimitState.OVER, _describe_over(limit, (count.first(turns).misses, turns), plan))
    allowed = plan.allowed_at_end(count.turns) if ended else plan.allowed(count.turns)
    if state is LimitState.WITHIN or count.misses + count.invalid <= allowed:
        shown = count.first(turns) if state is LimitState.WITHIN else count
        most = plan.allowed(turns) if state is LimitState.WITHIN else allowed
        if ended and state is LimitState.WITHIN and count.misses + count.invalid <= allowed:
            shown, most = count, allowed  # all turns show it too
        later = "" if shown is count else f"; shown by the first {plural(shown.turns, shown.sample)}"
        return LimitResult(
            LimitState.WITHIN,
            f"{_describe_within(limit, shown, most)}{later}",
            assumes=_describe_assumption(limit, shown, plan),
        )
    if count.misses <= allowed:
        text = f"the verdict on {_name(limit)} depends on {plural(count.invalid, 'invalid turn')}"
        return not_judged(text, "run it again")
    least = stats.n_needed(0, 1 - plan.miss_rate, limit.confidence)
    if ended and count.turns < least:
        return not_judged(_more_needed(least - count.turns, limit, count.sample), missing=least - count.turns)
    return LimitResult(LimitState.NEITHER, _describe_neither(limit, count, plan))


def _count_late(limit: Limit, scored: Sequence[TurnRecord]) -> Count | LimitResult:
    reaction = measures.REACTIONS_BY_METRIC.get(limit.metric)
    turns = [turn for turn in scored if (turn.expectation.needs_answer if reaction is None else reaction.applies(turn))]
    valid = [turn for turn in turns if turn.outcome is not Outcome.INVALID]
    if reaction is None:
        answered = [turn for turn in valid if turn.is_good]
        unmeasured = sum(_limited_time_ms(limit, turn) is None for turn in answered)
        if unmeasured or not valid:
            text = f"{_name(limit)} is not known for {unmeasured} of {len(answered)} answered turns"
            without = [turn for turn in answered if _limited_time_ms(limit, turn) is None]
            if limit.metric in SUBSTANCE and without:
                return not_judged(text, next((turn.substance_note for turn in without if turn.substance_note), ""))
            spanless = limit.stage is not None and all(turn.stages is None and turn.attempts is None for turn in valid)
            return not_judged(text, "run with an agent whose turns have it", needs_spans=spanless)
        values = [_limited_time_ms(limit, turn) if turn.is_good else None for turn in valid]
    else:
        if not valid:
            text = f"{_name(limit)} is not known: the run had no {reaction.kinds}"
            return not_judged(text, "use a scenario that has them")
        values = [reaction.value(turn) for turn in valid]
    left = iter(values)
    over = tuple(
        None if turn.outcome is Outcome.INVALID else (value := next(left)) is None or not value <= limit.at_most
        for turn in turns
    )
    return Count(over, tuple(values), "turn" if reaction is None else reaction.kinds.removesuffix("s"))


def _limited_time_ms(limit: Limit, turn: TurnRecord) -> float | None:
    if limit.stage is not None:
        if turn.stages is None:
            return None
        return turn.stages[limit.stage].exposed_ms if limit.stage in turn.stages else 0.0
    value: float | None = getattr(turn, limit.metric)
    return value if value is None or turn.start_delay_ms is None else value + turn.start_delay_ms


def _count_events(limit: Limit, scored: Sequence[TurnRecord]) -> Count:
    share = measures.SHARES_BY_METRIC[limit.metric]
    turns = [turn for turn in scored if share.applies(turn)]
    over = tuple(None if turn.outcome is Outcome.INVALID else share.is_event(turn) for turn in turns)
    return Count(over, (), share.sample)


def _find_first(count: Count, plan: Plan) -> tuple[LimitState, int]:
    """Return what is shown first, and by how many turns; NEITHER and all turns if nothing is.

    Invalid turns count as misses against PASS, and as none against FAIL.
    """
    misses = invalid = 0
    for turns, over in enumerate(count.over, 1):
        misses += over is True
        invalid += over is None
        if plan.shows_within(misses + invalid, turns):
            return LimitState.WITHIN, turns
        if over and plan.shows_over(misses, turns):
            return LimitState.OVER, turns
    return LimitState.NEITHER, count.turns


def _name(limit: Limit) -> str:
    if limit.is_rate:
        return measures.SHARES_BY_METRIC[limit.metric].label
    return f"p{limit.quantile * 100:g} of {name_metric(limit.metric)}"


def _describe_within(limit: Limit, count: Count, allowed: int) -> str:
    sure = f"with {limit.confidence:.0%} confidence"
    if limit.is_rate:
        upper = stats.rate_upper(count.misses + count.invalid, count.turns, limit.confidence) or 0.0
        return (
            f"{_name(limit)}: {count.misses} of {count.turns}, at most {min(upper, limit.at_most):.1%} {sure}; "
            f"budget {limit.at_most:.1%}"
        )
    # Of all limits that these turns would be shown to meet, the smallest.
    bound = stats.sort_values([*count.values, *[None] * count.invalid])[count.turns - 1 - allowed]
    return (
        f"{_name(limit)} is at most {bound:.0f} ms {sure} over {plural(count.turns, 'turn')}, {count.misses} of them "
        f"over; budget {limit.at_most:.0f} ms"
    )


def _describe_assumption(limit: Limit, count: Count, plan: Plan) -> str:
    """Say that misses must come singly; "" where so few among so many turns exclude runs of three as well."""
    misses = count.misses + count.invalid
    needed = turns_against_bursts(misses, plan.miss_rate, limit.level, BURST)
    if plan.bursts >= BURST or count.turns >= needed:
        return ""
    return (
        f"This holds if {count.sample}s over the limit come singly; in runs of three it would take "
        f"{plural(needed, count.sample)} with {misses or 'none'} over it."
    )


def _describe_over(limit: Limit, at: tuple[int, int], plan: Plan) -> str:
    misses, turns = at
    budget = f"{limit.at_most:.1%}" if limit.is_rate else f"{limit.at_most:.0f} ms"
    seen = f"{misses} of {turns}"
    if not limit.is_rate:
        was = "was" if turns == 1 else "were"
        seen = f"{misses} of {plural(turns, 'turn')} {was} over it, and {100 * plan.miss_rate:.3g}% of all may be"
    return f"{_name(limit)} over the budget of {budget} with {100 * (1 - plan.false_fail):.3g}% confidence: {seen}"


def _describe_neither(limit: Limit, count: Count, plan: Plan) -> str:
    invalid = f" ({count.invalid} invalid)" if count.invalid else ""
    seen = f"{count.misses} of {plural(count.turns, count.sample)}{invalid}"
    if limit.is_rate:
        low, high = stats.rate_interval(count.misses, count.turns - count.invalid)
        known = f"{_name(limit)}: {seen}, between {low:.1%} and {high:.1%}; budget {limit.at_most:.1%}"
    else:
        low_ms, high_ms = stats.quantile_interval(count.values, limit.quantile)
        known = f"{seen} over {limit.at_most:.0f} ms: {_name(limit)} is {_between(low_ms, high_ms)}"
    return f"{known}; {_describe_need(count, plan)}"


def _between(low_ms: float | None, high_ms: float | None) -> str:
    if low_ms is None:
        return "not known" if high_ms is None else f"at most {high_ms:.0f} ms"
    return f"at least {low_ms:.0f} ms" if high_ms is None else f"between {low_ms:.0f} and {high_ms:.0f} ms"


def _describe_need(count: Count, plan: Plan) -> str:
    valid = count.turns - count.invalid
    needed = turns_that_decide(count.misses, valid, plan) if valid else None
    if needed is None:
        return f"at this rate no run of up to {MOST_TURNS} turns would decide"
    return f"at this rate {plural(max(1, needed - count.turns), 'more turn')} would decide ({needed} in all)"


@lru_cache(maxsize=256)
def turns_that_decide(misses: int, turns: int, plan: Plan) -> int | None:
    """Return how many turns in all would decide at the rate of `misses` in `turns`, judged once; None: over 5,000."""
    sizes = np.arange(turns + 1, MOST_TURNS + 1)
    expected = np.rint(misses / turns * sizes).astype(int)
    over = np.asarray(distributions.binom.sf(expected - 1, sizes, plan.miss_rate)) <= plan.false_fail
    if plan.bursts == 1:
        within = distributions.binom.cdf(expected, sizes, plan.miss_rate) <= plan.false_pass
        decided = sizes[over | within]
        return int(decided[0]) if len(decided) else None
    for size in np.unique(np.geomspace(turns + 1, MOST_TURNS, 60).astype(int)):
        few = round(misses / turns * size)
        if over[size - turns - 1] or turns_against_bursts(few, plan.miss_rate, plan.false_pass, plan.bursts) <= size:
            return int(size)
    return None


def _more_needed(missing: int, limit: Limit, sample: str) -> str:
    """Return `one more turn is needed for the underrun limit`, `3 more turns are needed for ...`."""
    of = f"{measures.SHARES_BY_METRIC[limit.metric].limit_name} limit" if limit.is_rate else f"limit on {_name(limit)}"
    return (
        f"one more {sample} is needed for the {of}"
        if missing == 1
        else f"{missing} more {sample}s are needed for the {of}"
    )
