"""The stage table: measured times beside the plan of the budget, line by line. Pure.

The plan is the hypotheses of the run's own budget, or else those of `sub500`; a stage that no line pays for gets one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap_agent.tracing import Stage

from turngap.model.figures import StageFigures
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.report.wording import ROLE, STAGE, ms
from turngap.verdict import stats, summary
from turngap.verdict.budget import Hypothesis, Metric
from turngap.verdict.summary import perceived_gaps

PLAN = (
    Hypothesis(name="network", low_ms=50, high_ms=100, kind="network"),
    Hypothesis(name="endpointing (not in the plan)", low_ms=0, high_ms=0, stages=(Stage.ENDPOINTING,)),
    Hypothesis(name="speech to text", low_ms=100, high_ms=150, stages=(Stage.TRANSCRIPTION,)),
    Hypothesis(name="language model", low_ms=100, high_ms=200, stages=(Stage.FIRST_TOKEN, Stage.FIRST_CLAUSE)),
    Hypothesis(name="text to speech", low_ms=100, high_ms=150, stages=(Stage.FIRST_AUDIO, Stage.LEAD_IN)),
    Hypothesis(
        name="audio conversion",
        low_ms=10,
        high_ms=30,
        stages=(Stage.FRAMING_IN, Stage.TRANSPORT_IN, Stage.ENCODING, Stage.TRANSPORT_OUT),
    ),
    Hypothesis(name="headroom", low_ms=50, high_ms=100, kind="headroom"),
)
"""The hypotheses of `sub500`, for runs without a budget."""


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """The budget as a line over perceived gaps."""

    at_ms: float
    words: str


def reference_line(record: RunRecord) -> ReferenceLine:
    """Where the budget stands: the run's limit on the perceived gap, or on the turn gap; 500 ms where it has none."""
    given = (record.budget or {}).get("limits", [])
    limits = {limit["metric"]: float(limit["at_most"]) for limit in given if isinstance(limit, dict)}
    if Metric.PERCEIVED_GAP in limits or Metric.TURN_GAP not in limits:
        at_ms = limits.get(Metric.PERCEIVED_GAP, 500.0)
        return ReferenceLine(at_ms, f"budget {at_ms:g} ms" if given else f"{at_ms:g} ms (no budget given)")
    at_ms = limits[Metric.TURN_GAP]
    return ReferenceLine(at_ms + record.network_ms, f"budget {at_ms:g} ms at the media edge")


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage inside a line."""

    name: str
    meaning: str
    figures: StageFigures


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One line of the plan as measured; exposed times are per-turn sums, so they are not the sum of its rows."""

    name: str
    meaning: str
    role: str
    expected: str
    rows: tuple[StageRow, ...]
    p50_ms: float | None
    p95_ms: float | None
    p95_upper_ms: float | None
    share: float | None
    """Median exposed time over the budget."""
    finding: str
    over: bool


def plan_rows(record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[PlanRow, ...]:
    """The plan's lines, headroom last; empty where no answered turn has stages."""
    explained = [turn for turn in summary.valid_turns(turns) if summary.good(turn) and turn.stages]
    if not explained:
        return ()
    given = (record.budget or {}).get("hypotheses") or ()
    plan = tuple(Hypothesis.model_validate(item) for item in given) or PLAN
    covered = {stage for item in plan for stage in item.stages}
    rest = [
        Hypothesis(name=STAGE[stage][0], low_ms=0, high_ms=0, stages=(stage,))
        for stage in Stage
        if stage not in covered and stage in record.stages
    ]
    budget_ms = reference_line(record).at_ms
    found = [_line(item, record, explained, budget_ms) for item in (*plan, *rest) if item.kind != "headroom"]
    return (*found, *(_headroom(item, turns, budget_ms) for item in plan if item.kind == "headroom"))


def _line(item: Hypothesis, record: RunRecord, turns: Sequence[TurnRecord], budget_ms: float) -> PlanRow:
    if item.kind == "network":
        sums = [record.network_ms] * len(turns)
    else:
        taken = [turn.stages or {} for turn in turns]
        sums = [sum(stages[s].exposed_ms for s in item.stages if s in stages) for stages in taken]
    rows = tuple(StageRow(*STAGE[stage], record.stages[stage]) for stage in item.stages if stage in record.stages)
    meaning = rows[0].meaning if len(rows) == 1 else ""
    p50 = stats.percentile(sums, 0.5)
    finding, over = _finding(item, p50)
    return PlanRow(
        name=item.name,
        meaning="what the telephone network adds: a model, stated in the profile"
        if item.kind == "network"
        else meaning,
        role="network" if item.kind == "network" else ROLE[item.stages[0]],
        expected=_expected(item),
        rows=rows,
        p50_ms=p50,
        p95_ms=stats.percentile(sums, 0.95),
        p95_upper_ms=stats.quantile_upper(sums),
        share=None if p50 is None else p50 / budget_ms,
        finding=finding,
        over=over,
    )


def _expected(item: Hypothesis) -> str:
    if not item.high_ms:
        return "no line"
    return f"{item.low_ms:g}" if item.low_ms == item.high_ms else f"{item.low_ms:g}–{item.high_ms:g}"


def _finding(item: Hypothesis, p50: float | None) -> tuple[str, bool]:
    if p50 is None:
        return "not measured", False
    if not item.high_ms:
        return ("not in the plan", False) if p50 >= 0.05 else ("none", False)
    if p50 > item.high_ms:
        return f"over by {ms(p50 - item.high_ms)} ms", True
    return ("within", False) if p50 >= item.low_ms else (f"under by {ms(item.low_ms - p50)} ms", False)


def _headroom(item: Hypothesis, turns: Sequence[TurnRecord], budget_ms: float) -> PlanRow:
    values = perceived_gaps(summary.valid_turns(turns))

    def left(value: float | None) -> float | None:
        return None if value is None else budget_ms - value

    p50 = left(stats.percentile(values, 0.5))
    finding = "not known" if p50 is None else f"{ms(p50)} ms left" if p50 >= 0 else f"over by {ms(-p50)} ms"
    return PlanRow(
        name=item.name,
        meaning=f"{budget_ms:g} ms less the perceived gap",
        role="muted",
        expected=_expected(item),
        rows=(),
        p50_ms=p50,
        p95_ms=left(stats.percentile(values, 0.95)),
        p95_upper_ms=left(stats.quantile_upper(values)),
        share=None if p50 is None else p50 / budget_ms,
        finding=finding,
        over=p50 is None or p50 < 0,
    )
