"""The stopping plan of a budget: a plan for each limit, and the looks at which sums are judged. Pure."""

from __future__ import annotations

from turngap.model.budget import Budget, Limit
from turngap.model.stopping import LimitPlan, StoppingPlan
from turngap.verdict import stats
from turngap.verdict.plan import GOOD_SHARE, Plan, plan_fixed, plan_sequential

RESERVE = 0.05
"""Share of a sequential plan's level for a false PASS that is not spent: turns can be a little alike, unnoticed."""


def plan_run(budget: Budget, planned: int) -> StoppingPlan | None:
    """Return the stopping plan for a run of `planned` turns that is judged by `budget`; None without turns.

    Each limit keeps its own level for a false PASS, since a run passes only if all are met. One limit is enough for
    FAIL, so their number divides the level of a false FAIL.
    """
    if planned < 1:
        return None
    limits = []
    for limit in budget.limits:
        if not (limit.is_latency or limit.is_rate):
            continue
        level = _level(limit)
        make = plan_sequential if budget.sequential else plan_fixed
        spent = _spend(level, planned, limit.miss_rate) if budget.sequential and budget.bursts == 1 else level
        plan = make(planned, limit.miss_rate, spent, level / len(budget.limits), budget.bursts)
        good = plan.course(GOOD_SHARE * limit.miss_rate)
        limits.append(
            LimitPlan(
                metric=limit.metric,
                quantile=limit.quantile,
                miss_rate=plan.miss_rate,
                false_pass=plan.false_pass,
                false_fail=plan.false_fail,
                pass_from=plan.pass_from,
                fail_within=plan.fail_within,
                power=round(good.passes, 4),
                mean_turns=round(good.expected_turns, 1),
            )
        )
    looks = sorted({start for plan in limits[:1] for start in plan.pass_from} | {planned})
    kind = "sequential" if budget.sequential else "fixed"
    return StoppingPlan.model_validate(
        {"kind": kind, "turns": planned, "bursts": budget.bursts, "limits": tuple(limits), "looks": tuple(looks)}
    )


def _spend(level: float, planned: int, miss_rate: float) -> float:
    """Return the level that is spent: without the reserve, unless that would allow fewer misses in all."""
    spent = (1 - RESERVE) * level
    allowed = [stats.misses_allowed(planned, 1 - miss_rate, 1 - each) for each in (spent, level)]
    return spent if allowed[0] == allowed[1] else level


def find_plan(stopping: StoppingPlan | None, limit: Limit) -> Plan | None:
    """Return the plan of that limit; None where the run has none: it is judged once, when it has ended."""
    for known in () if stopping is None else stopping.limits:
        if (known.metric, known.quantile) == (limit.metric, limit.quantile) and stopping is not None:
            return Plan(
                turns=stopping.turns,
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
    return plan_fixed(turns, limit.miss_rate, _level(limit), _level(limit) / limits, bursts)


def _level(limit: Limit) -> float:
    return round(1 - limit.confidence, 9)
