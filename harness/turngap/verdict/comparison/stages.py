"""The exposed time of each stage in two runs: where a change of the turn gap comes from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from scipy import stats
from turngap_agent.tracing import Stage

from turngap.model.plural import plural
from turngap.model.turn import TurnRecord
from turngap.verdict.comparison.findings import Change, MedianChange
from turngap.verdict.comparison.medians import decide_median, default_tolerance_ms, measure_median
from turngap.verdict.comparison.pairs import Matched

LEAST_MS = 5.0
"""A stage that changes by less than this counts as unchanged, however short it is."""


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """The change of one latency's median between two runs."""

    stage: Stage | None
    """None: the turn gap."""
    paired: bool
    """Turns are paired by utterance; otherwise the runs' turns are two samples."""
    n_head: int
    n_base: int
    found: MedianChange
    """The p-values of stages are adjusted for the number of stages that can be judged (Benjamini-Hochberg); those of
    the turn gap for the number of measures of the comparison (Holm)."""

    def to_json(self) -> dict[str, Any]:
        """Return the change as `turngap compare --json` prints it."""
        return asdict(self)

    @property
    def turns(self) -> str:
        """`12 pairs`, or the turns on either side."""
        return plural(self.n_head, "pair") if self.paired else f"{self.n_head}, {self.n_base}"

    @property
    def interval_missing(self) -> str:
        """The reason why there is no interval."""
        return "too few" if self.found.change is Change.TOO_FEW else "turns were not answered"


def compare_stages(matched: Matched) -> list[LatencyChange]:
    """Compare each stage that both runs have."""
    rows, tails, tolerances = [], [], []
    for stage in Stage:
        head, base = matched.select(partial(_exposed_ms, stage))
        if not len(head) or not len(base):
            continue
        tolerances.append(default_tolerance_ms(base.tolist(), LEAST_MS))
        change, slower, faster = measure_median(head, base, tolerances[-1], paired=matched.paired)
        rows.append(LatencyChange(stage, matched.paired, len(head), len(base), change))
        tails.append((slower.p, faster.p))
    enough = [place for place, row in enumerate(rows) if row.found.change is not Change.TOO_FEW]
    slower_p, faster_p = (adjust_p_values([tails[place][side] for place in enough]) for side in (0, 1))
    for place, p_slower, p_faster in zip(enough, slower_p, faster_p, strict=True):
        found = decide_median(rows[place].found, p_slower, p_faster, tolerances[place])
        rows[place] = replace(rows[place], found=found)
    return rows


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini-Hochberg adjusted p-values: of the stages that are named, few are wrong."""
    return [float(p) for p in stats.false_discovery_control(p_values, method="bh")] if p_values else []


def _exposed_ms(stage: Stage, turn: TurnRecord) -> float | None:
    """Return the stage's exposed time; None for a turn without it."""
    return turn.stages[stage].exposed_ms if turn.is_good and turn.stages and stage in turn.stages else None
