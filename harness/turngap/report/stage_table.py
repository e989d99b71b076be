"""The stage table: measured times next to the plan, line by line. Pure.

The plan is the hypotheses of the run's own budget, or those of `sub500`. Stages outside the plan have their own rows.
Without a budget nothing is "over": the plan and 500 ms are a reference only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from turngap_agent.tracing import Stage

from turngap.model.budget import Hypothesis, Metric
from turngap.model.figures import LatencyFigures, StageFigures
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.report.wording import ROLE, STAGE, ms
from turngap.verdict import stats, summary
from turngap.verdict.budget import load_default_plan

REFERENCE_MS = 500.0
"""The perceived gap that runs without a budget are compared with."""


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A line over the gaps of one measure: the budget, or a reference where there is none."""

    at_ms: float
    label: str
    is_budget: bool
    metric: Literal[Metric.PERCEIVED_GAP, Metric.TURN_GAP] = Metric.PERCEIVED_GAP
    """The gap that the budget limits, and that charts with this line show."""

    @property
    def role(self) -> str:
        """Its colour."""
        return "budget" if self.is_budget else "muted"

    @property
    def measure(self) -> str:
        """The name of that gap."""
        return "perceived gap" if self.metric is Metric.PERCEIVED_GAP else "turn gap"

    def gap_ms(self, turn: TurnRecord) -> float | None:
        """Return the turn's gap of that kind."""
        return turn.perceived_gap_ms if self.metric is Metric.PERCEIVED_GAP else turn.turn_gap_ms

    def gaps_ms(self, turns: Sequence[TurnRecord]) -> list[float | None]:
        """Return the gaps of the turns that need an answer; None for each that was not answered as it should."""
        return [self.gap_ms(turn) if turn.is_good else None for turn in turns if turn.expectation.needs_answer]

    def figures(self, record: RunRecord) -> LatencyFigures:
        """Return the run's figures of that gap."""
        return record.perceived_gap_ms if self.metric is Metric.PERCEIVED_GAP else record.turn_gap_ms

    def is_over(self, gap_ms: float | None) -> bool:
        """Whether a gap of that kind is over the budget; never if there is none."""
        return self.is_budget and (gap_ms or 0.0) > self.at_ms


def reference_line(record: RunRecord) -> ReferenceLine:
    """Return the run's limit on the perceived gap, or on the turn gap; 500 ms as a reference if it has neither."""
    limits = {limit.metric: limit.at_most for limit in record.budget.limits} if record.budget is not None else {}
    if Metric.PERCEIVED_GAP in limits:
        at_ms = limits[Metric.PERCEIVED_GAP]
        return ReferenceLine(at_ms, f"budget {at_ms:g} ms", is_budget=True)
    if Metric.TURN_GAP in limits:
        at_ms = limits[Metric.TURN_GAP]
        return ReferenceLine(at_ms, f"budget {at_ms:g} ms at the media edge", is_budget=True, metric=Metric.TURN_GAP)
    return ReferenceLine(REFERENCE_MS, f"{REFERENCE_MS:g} ms, for reference", is_budget=False)


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of a plan row."""

    name: str
    meaning: str
    figures: StageFigures


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One line of the plan as measured. Exposed times are sums per turn, so they are not the sum of the stage rows."""

    name: str
    meaning: str
    role: str
    expected: str
    stages: tuple[StageRow, ...]
    p50_ms: float | None
    p95_ms: float | None
    p95_upper_ms: float | None
    share: float | None
    """Median exposed time over the reference line."""
    finding: str
    over: bool
    """Over the plan of the run's own budget."""


def plan_rows(record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[PlanRow, ...]:
    """Return the rows of the plan, headroom last; empty if no answered turn has stages."""
    explained = [turn for turn in summary.valid_turns(turns) if turn.is_good and turn.stages]
    if not explained:
        return ()
    plan = (record.budget.hypotheses if record.budget is not None else ()) or load_default_plan()
    planned_stages = {stage for item in plan for stage in item.stages}
    others = [
        Hypothesis(name=STAGE[stage][0], low_ms=0, high_ms=0, stages=(stage,))
        for stage in Stage
        if stage not in planned_stages and stage in record.stages
    ]
    line = reference_line(record)
    rows = [_stage_row(item, record, explained, line) for item in (*plan, *others) if item.kind != "headroom"]
    return (*rows, *(_headroom_row(item, turns, line) for item in plan if item.kind == "headroom"))


def list_unresolved(record: RunRecord) -> list[str]:
    """Return a sentence for each stage whose median is smaller than its uncertainty."""
    return [
        f"{STAGE[stage][0]} is not resolvable: {ms(figures.p50_ms)} ms, known to ±{ms(figures.uncertainty_ms)} ms"
        for stage, figures in record.stages.items()
        if not figures.is_resolved
    ]


def _stage_row(item: Hypothesis, record: RunRecord, turns: Sequence[TurnRecord], line: ReferenceLine) -> PlanRow:
    if item.kind == "network":
        pairs = [(turn.perceived_gap_ms, turn.turn_gap_ms) for turn in turns]
        sums = [perceived - gap for perceived, gap in pairs if perceived is not None and gap is not None]
    else:
        stages_of_turns = [turn.stages or {} for turn in turns]
        sums = [sum(stages[s].exposed_ms for s in item.stages if s in stages) for stages in stages_of_turns]
    rows = tuple(StageRow(*STAGE[stage], record.stages[stage]) for stage in item.stages if stage in record.stages)
    meaning = rows[0].meaning if len(rows) == 1 else ""
    p50_ms = stats.percentile(sums, 0.5)
    return PlanRow(
        name=item.name,
        meaning=_network_meaning(record) if item.kind == "network" else meaning,
        role="network" if item.kind == "network" else ROLE[item.stages[0]],
        expected=_expected(item),
        stages=rows,
        p50_ms=p50_ms,
        p95_ms=stats.percentile(sums, 0.95),
        p95_upper_ms=stats.quantile_upper(sums),
        share=None if p50_ms is None else p50_ms / line.at_ms,
        finding=_finding(item, p50_ms, line),
        over=line.is_budget and item.has_target and p50_ms is not None and p50_ms > item.high_ms,
    )


def _network_meaning(record: RunRecord) -> str:
    """Return what the row of the telephone network is."""
    if record.live is not None:
        return "the telephone network: both ways, measured"
    name = record.telephone.network.name if record.telephone is not None else ""
    return f"added by the telephone network: {f'{name}, ' if name else ''}one delay a call"


def _expected(item: Hypothesis) -> str:
    if not item.has_target:
        return "no target set"
    return f"{item.low_ms:g}" if item.low_ms == item.high_ms else f"{item.low_ms:g}–{item.high_ms:g}"


def _finding(item: Hypothesis, p50_ms: float | None, line: ReferenceLine) -> str:
    if p50_ms is None:
        return "not measured"
    if not item.has_target:
        return "–"
    if p50_ms > item.high_ms:
        return f"over by {ms(p50_ms - item.high_ms)} ms" if line.is_budget else f"{ms(p50_ms - item.high_ms)} ms above"
    return "within" if p50_ms >= item.low_ms else f"{ms(item.low_ms - p50_ms)} ms below"


def _headroom_row(item: Hypothesis, turns: Sequence[TurnRecord], line: ReferenceLine) -> PlanRow:
    gaps = line.gaps_ms(summary.valid_turns(turns))

    def left(value: float | None) -> float | None:
        return None if value is None else line.at_ms - value

    p50_ms = left(stats.percentile(gaps, 0.5))
    if p50_ms is None:
        finding = "not known"
    elif p50_ms >= 0:
        finding = f"{ms(p50_ms)} ms left"
    else:
        finding = f"over by {ms(-p50_ms)} ms" if line.is_budget else "none"
    return PlanRow(
        name=item.name,
        meaning=f"{line.at_ms:g} ms minus the {line.measure}",
        role="muted",
        expected=_expected(item),
        stages=(),
        p50_ms=p50_ms,
        p95_ms=left(stats.percentile(gaps, 0.95)),
        p95_upper_ms=left(stats.quantile_upper(gaps)),
        share=None if p50_ms is None else p50_ms / line.at_ms,
        finding=finding,
        over=line.is_budget and (p50_ms is None or p50_ms < 0),
    )
