"""Two runs compared: the finding, its measures, where in the stages it comes from, and what else differs. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from turngap.model.budget import Budget, Limit, Metric
from turngap.model.plural import plural
from turngap.model.result import RunRecord, caveat
from turngap.model.turn import TurnRecord
from turngap.verdict.comparison import findings
from turngap.verdict.comparison.findings import Change, MeasureChange, MedianChange
from turngap.verdict.comparison.measures import Sample, compare_samples
from turngap.verdict.comparison.medians import LEAST_PAIRS
from turngap.verdict.comparison.pairs import Turns, match_turns
from turngap.verdict.comparison.stages import LatencyChange, compare_stages
from turngap.verdict.landings import compare_landings
from turngap.verdict.stats import Floats

_LIMITED = (Metric.TURN_GAP, Metric.PERCEIVED_GAP)


@dataclass(frozen=True, slots=True)
class TurnsComparison:
    """The turns of two runs compared."""

    measures: tuple[MeasureChange, ...]
    """Centre and tail of the latencies, slow turns, outcomes, words."""
    rows: tuple[LatencyChange, ...]
    """The median turn gap, then the median exposed time of each stage: where a change comes from."""
    left_out: int = 0
    """Turns of either run whose utterance the other does not have."""

    @property
    def change(self) -> Change:
        """The finding of the whole comparison: worse if any measure is, and the same only if all are."""
        return findings.combine(self.measures)

    @property
    def sentence(self) -> str:
        """The finding in one sentence that names the measures behind it."""
        return findings.describe(self.measures)


def compare_turns(head: Turns, base: Turns, budget: Budget | None = None) -> TurnsComparison:
    """Compare two runs; no measures if one has no turns to compare. `budget` sets from when on turns are slow."""
    matched = match_turns(head, base)
    limit = next((limit for limit in budget.limits if limit.metric in _LIMITED), None) if budget is not None else None
    new, old = (_sample(turns, limit) for turns in (matched.head, matched.base))
    if not len(new.outcomes) or not len(old.outcomes):
        return TurnsComparison((), ())
    measures = compare_samples(new, old, paired=matched.paired, limit_ms=limit.at_most if limit is not None else None)
    gap = [_as_row(measure) for measure in measures if measure.name == "turn_gap_p50_ms"]
    return TurnsComparison(measures, (*gap, *compare_stages(matched)), matched.left_out)


def make_notes(comparison: TurnsComparison, head: RunRecord, base: RunRecord) -> tuple[str, ...]:
    """Return the lines below a comparison: too few turns, how cut-offs landed, what else differs."""
    return (*describe_too_few(comparison), *compare_landings(head, base), *describe_differences(head, base))


def describe_too_few(comparison: TurnsComparison) -> list[str]:
    """Return a line for each number of turns that is too small to find a difference; largest number first."""
    rows = [
        *((row.n_head, row.n_base, row.paired, row.found.change) for row in comparison.rows),
        *((row.n_head, row.n_base, row.paired, row.change) for row in comparison.measures if row.kind != "tail"),
    ]
    fewest = {min(head, base): paired for head, base, paired, change in rows if change is Change.TOO_FEW}
    lines = [
        f"{plural(count, 'pair' if paired else 'turn')}: too few to find a difference ({LEAST_PAIRS} are needed)"
        for count, paired in sorted(fewest.items(), reverse=True)
    ]
    if comparison.left_out:
        lines.append(f"{plural(comparison.left_out, 'turn')} of utterances that only one of the runs has are left out")
    return lines


def describe_differences(head: RunRecord, base: RunRecord) -> list[str]:
    """Return a line for each other difference between the runs: it may be the cause of a change of latency."""
    pairs = {name: (head.environment.get(name), base.environment.get(name)) for name in ("cpu", "gpu")}
    pairs |= {"profile": (head.profile, base.profile), "scenario": (head.scenario, base.scenario)}
    notes = [
        f"{name} differs: {new or 'none'}, against {old or 'none'}" for name, (new, old) in pairs.items() if new != old
    ]
    known = {record.profile: caveat(record.profile_data) for record in (head, base)}
    notes += [f"profile {name}, {text[0].lower()}{text[1:]}" for name, text in known.items() if text is not None]
    if head.profile == base.profile and head.profile_data != base.profile_data:
        notes.append(f"the settings of profile {head.profile} differ")
    if head.scenario == base.scenario and head.scenario_sha256 != base.scenario_sha256:
        notes.append(f"the file of scenario {head.scenario} differs")
    if head.definitions != base.definitions:
        notes.append(
            f"t0 and t1 are defined differently: version {head.definitions}, against {base.definitions}; by version 1 "
            "gaps are up to 20 ms shorter, about 10 on average (docs/definitions.md)"
        )
    return notes


def _as_row(gap: MeasureChange) -> LatencyChange:
    change = MedianChange(gap.change, gap.p_worse, gap.p_better, gap.difference, gap.low, gap.high)
    return LatencyChange(None, gap.paired, gap.n_head, gap.n_base, change)


def _sample(turns: Sequence[TurnRecord], limit: Limit | None) -> Sample:
    def column(value: Callable[[TurnRecord], float | None]) -> Floats:
        values = [value(turn) for turn in turns]
        return np.asarray([math.nan if one is None else one for one in values], np.float64)

    limited = limit.metric if limit is not None else Metric.TURN_GAP
    return Sample(
        gap_ms=column(lambda turn: _time(turn, Metric.TURN_GAP)),
        substance_ms=column(_time_to_substance),
        limited_ms=column(lambda turn: _time(turn, limited)),
        outcomes=np.asarray([turn.outcome.value for turn in turns], np.str_),
        word_errors=column(lambda turn: turn.word_errors if turn.expectation.needs_answer else None),
        words=column(lambda turn: turn.words),
    )


def _time(turn: TurnRecord, field: str) -> float | None:
    """Return a time of the turn: +inf if it was not answered as it should be, None if it needs no answer."""
    if not turn.expectation.needs_answer:
        return None
    value: float | None = getattr(turn, field) if turn.is_good else None
    return math.inf if value is None else value


def _time_to_substance(turn: TurnRecord) -> float | None:
    """Return the time to substance: +inf for an answer without content, None where it is not known."""
    if turn.is_good and turn.substance_gap_ms is None and not turn.substance_from:
        return None
    return _time(turn, "substance_gap_ms")
