"""The stopping plan of a budget: a plan for each limit, and the looks at which sums are judged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.budget import WORD_METRICS, Budget, Limit, Metric
from turngap.model.stopping import LimitPlan, StoppingPlan
from turngap.verdict import stats
from turngap.verdict.plan import GOOD_SHARE, Plan, plan_fixed, plan_sequential
from turngap.verdict.planned import PlannedTurn, find_own
from turngap.verdict.word_errors import is_wer_within

RESERVE = 0.05
"""Share of a sequential plan's level for a false PASS that is not spent: turns can be a little alike, unnoticed."""
EARLY_LOOK = 0.5
"""Share of a sum's level that is spent at its early look; the rest at the end of the run."""
LATEST_EARLY_LOOK = 0.8
"""There is no early look that would save less than a fifth of the run: it would only weaken the last one."""


def plan_run(budget: Budget, planned: int | Sequence[PlannedTurn]) -> StoppingPlan | None:
    """Return the stopping plan for a run of the planned turns that is judged by `budget`; None without turns.

    `planned` is their number where nothing more is known. Each limit is planned for the turns that it is about, and
    keeps its own level for a false PASS, since a run passes only if all are met. One limit is enough for FAIL, so their
    number divides the level of a false FAIL.

    Sums are looked at before the end once: when all counts can be shown to be met, and a run without a fault is within
    the limits on sums. That depends on the plan alone, never on what was measured, so that each look has half of the
    level, however word errors go with misses. The bound itself is not exact: see docs/accuracy.md.
    """
    turns = [PlannedTurn()] * planned if isinstance(planned, int) else list(planned)
    if not turns:
        return None
    counted = [limit for limit in budget.limits if limit.is_latency or limit.is_rate]
    sums = [limit for limit in budget.limits if limit not in counted and limit.metric != Metric.VRAM]
    own = {limit: find_own(limit, turns) for limit in counted}
    most = max(map(len, own.values()), default=0)
    early = [turns_for_sums(limit, turns, EARLY_LOOK * limit.level) for limit in sums]
    first = max([1, *(look for look in early if look is not None)])
    plans: dict[Limit, Plan] = {}
    for limit in sorted(counted, key=lambda limit: -len(own[limit])):
        # A limit about a part of the turns does not hold up a run that all others let end.
        by = None if len(own[limit]) == most else sum(place <= first for place in own[limit])
        plan = plans[limit] = _plan_limit(limit, budget, len(own[limit]), by)
        first = max(first, own[limit][plan.pass_from[0] - 1]) if plan.pass_from else first
    limits = []
    for limit in counted:
        plan = plans[limit]
        good = plan.course(GOOD_SHARE * limit.miss_rate)
        limits.append(
            LimitPlan(
                metric=limit.metric,
                quantile=limit.quantile,
                turns=plan.turns,
                miss_rate=plan.miss_rate,
                false_pass=plan.false_pass,
                false_fail=plan.false_fail,
                pass_from=plan.pass_from,
                fail_within=plan.fail_within,
                power=round(good.passes, 4),
                mean_turns=round(good.expected_turns, 1),
            )
        )
    sooner = bool(sums) and None not in early and first <= LATEST_EARLY_LOOK * len(turns)
    looks = (first, len(turns)) if budget.sequential and sooner else (len(turns),)
    return StoppingPlan(
        kind="sequential" if budget.sequential else "fixed",
        turns=len(turns),
        bursts=budget.bursts,
        limits=tuple(limits),
        looks=looks,
        look_shares=(1.0,) if len(looks) == 1 else (EARLY_LOOK, 1 - EARLY_LOOK),
    )


def _plan_limit(limit: Limit, budget: Budget, turns: int, first_by: int | None) -> Plan:
    level = limit.level
    false_fail = level / len(budget.limits)
    if not budget.sequential:
        return plan_fixed(turns, limit.miss_rate, level, false_fail, budget.bursts)
    spent = _spend(level, turns, limit.miss_rate) if budget.bursts == 1 else level
    return plan_sequential(turns, limit.miss_rate, spent, false_fail, budget.bursts, first_by)


def turns_for_sums(limit: Limit, planned: Sequence[PlannedTurn], level: float) -> int | None:
    """Return after how many of the planned turns a run without a fault is within a limit on a sum; None: never.

    Of wasted work and of words that are not known, each turn counts alike.
    """
    own = find_own(limit, planned)
    words = [planned[place - 1].words for place in own]
    known = limit.metric in WORD_METRICS and min(words) > 0
    lengths = words if known else [1] * len(own)
    if limit.at_most <= 0:
        return None
    low, high = 0, len(own) + 1  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        enough = is_wer_within([0] * middle, lengths[:middle], limit.at_most, 1 - level)
        low, high = (low, middle) if enough else (middle, high)
    return own[high - 1] if high <= len(own) else None


def turns_needed(budget: Budget, planned: Sequence[PlannedTurn] = ()) -> int:
    """Return the fewest turns with which a run without a fault is shown to meet the budget, never fewer than 59.

    `planned` are the turns of the scenario, in their order: with them it is known how many turns bring enough of each
    limit's kind, and enough words. Beyond their end, or without them, every turn is taken to be of every kind.
    """
    needed = [stats.n_needed(0)]
    for limit in budget.limits:
        if limit.is_latency or limit.is_rate:
            count = stats.n_needed(0, 1 - limit.miss_rate, limit.confidence)
            own = find_own(limit, planned)
            needed.append(own[count - 1] if count <= len(own) else len(planned) + count - len(own))
        elif limit.metric != Metric.VRAM:
            if planned:
                needed.append(turns_for_sums(limit, planned, limit.level) or len(planned) + 1)
            else:
                needed.append(stats.n_needed(0, 1 - limit.at_most, limit.confidence))
    return max(needed)


def _spend(level: float, planned: int, miss_rate: float) -> float:
    """Return the level that is spent: without the reserve, unless that would allow fewer misses in all."""
    spent = (1 - RESERVE) * level
    allowed = [stats.misses_allowed(planned, 1 - miss_rate, 1 - each) for each in (spent, level)]
    return spent if allowed[0] == allowed[1] else level


def find_plan(stopping: StoppingPlan | None, limit: Limit) -> Plan | None:
    """Return the plan of that limit; None where the run has none: it is judged once, when it has ended."""
    if stopping is None:
        return None
    for known in stopping.limits:
        if (known.metric, known.quantile) == (limit.metric, limit.quantile):
            return Plan(
                turns=known.turns or stopping.turns,
                miss_rate=known.miss_rate,
                false_pass=known.false_pass,
                false_fail=known.false_fail,
                pass_from=known.pass_from,
                fail_within=known.fail_within,
                bursts=stopping.bursts,
            )
    return None


def plan_after(limit: Limit, turns: int, limits: int, bursts: int = 1) -> Plan:
    """Return the plan that judges a limit once, after `turns` turns that ended a run without a stopping plan."""
    return plan_fixed(turns, limit.miss_rate, limit.level, limit.level / limits, bursts)
