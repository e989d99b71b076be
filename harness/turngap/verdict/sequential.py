"""Whether a run with a budget is decided before all its planned turns were called. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from turngap.model.plural import plural
from turngap.model.stopping import StoppingPlan
from turngap.model.turn import TurnRecord
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Metric
from turngap.verdict.counts import count_misses, find_state
from turngap.verdict.limit_result import LimitResult, LimitState
from turngap.verdict.limits import WORD_METRICS, judge_budget
from turngap.verdict.validity import Evidence


class DecisionKind(StrEnum):
    """What is known of a run that is under way."""

    CONTINUE = "continue"
    PASS_SHOWN = "pass shown"
    """All limits are shown to be met."""
    FAIL_SHOWN = "fail shown"
    """A limit is shown to be missed."""
    OUT_OF_REACH = "out of reach"
    """A limit can't be shown to be met any more, and is not shown to be missed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the run can stop, and why."""

    kind: DecisionKind
    sentence: str = ""
    """By what it is decided, after how many turns; "" while it is not."""

    @property
    def is_made(self) -> bool:
        """Whether more turns would change nothing."""
        return self.kind is not DecisionKind.CONTINUE


def decide_early(
    scored: Sequence[TurnRecord],
    budget: Budget,
    planned: int,
    plan: StoppingPlan | None = None,
    *,
    weightless: bool = False,
) -> Decision:
    """Return whether the scored turns so far, in their order, decide the run.

    `plan` is the run's stopping plan, by default the one for this budget and number of planned turns; `weightless`: the
    agent's weights are random, and word errors are not judged. Turns that are called again are not among `scored`;
    those that stay invalid are judged both ways, as at the run's end. A limit on GPU memory is judged when the run has
    ended.
    """
    plan = plan or stopping.plan_run(budget, planned)
    if plan is None or plan.kind == "fixed" or not scored or len(scored) >= plan.turns:
        return Decision(DecisionKind.CONTINUE)
    left_out = {*([] if not weightless else WORD_METRICS), Metric.VRAM}
    limits = [limit for limit in budget.limits if limit.metric not in left_out]
    states, last = [], ""
    for limit in limits:
        own = stopping.find_plan(plan, limit)
        count = count_misses(limit, scored) if own is not None else None
        if own is None or count is None:
            continue
        if isinstance(count, LimitResult):
            states.append(count.state)
            continue
        state = find_state(count, own)
        states.append(state)
        if state is LimitState.NEITHER and count.misses >= own.last_miss and not last:
            last = f"{count.misses} of {plural(count.turns, count.sample)} over the limit on {limit.metric}"
    after = f"after {len(scored)} of {plural(plan.turns, 'planned turn')}"
    known = Evidence(planned_turns=planned, complete=False, weightless=weightless)
    if LimitState.OVER in states or last or all(state is LimitState.WITHIN for state in states):
        # Sums are only looked at where counts decide: they cost more, and decide nothing alone before the end.
        judged = budget.model_copy(update={"limits": tuple(limits)})
        results = judge_budget(judged, scored, known, plan, ended=False) if limits else []
        over = [result for result in results if result.state is LimitState.OVER]
        if over:
            return Decision(DecisionKind.FAIL_SHOWN, f"decided {after}: {over[0].text}")
        if results and all(result.state is LimitState.WITHIN for result in results):
            return Decision(DecisionKind.PASS_SHOWN, f"decided {after}: every limit is shown to be met")
        if last:
            return Decision(DecisionKind.OUT_OF_REACH, f"ended {after}: PASS is out of reach, {last}")
    return Decision(DecisionKind.CONTINUE)
