"""The gap on each simulated network of a run, compared with the clean network. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from turngap_agent.tracing import Stage

from turngap.model.figures import LatencyFigures, StageFigures
from turngap.model.turn import Outcome, TurnRecord
from turngap.network import CLEAN
from turngap.verdict import stats
from turngap.verdict.comparison.exact import median_interval
from turngap.verdict.comparison.medians import LEAST_PAIRS
from turngap.verdict.summary import perceived_gaps, stage_figures, valid_turns


@dataclass(frozen=True, slots=True)
class NetworkFigures:
    """A run's turns on one network."""

    name: str
    turns: tuple[TurnRecord, ...]
    """Valid turns, in the order of the run."""
    perceived_gap_ms: LatencyFigures
    later_ms: float | None
    """Median over utterances of their gap on this network minus that on the clean one; None without pairs."""
    later_between_ms: tuple[float, float] | None
    """Its 95 % interval; None for fewer than `LEAST_PAIRS` utterances."""
    outcomes: dict[Outcome, int]
    """Outcomes of all scored turns, invalid ones included."""
    stages: dict[Stage, StageFigures]


def group_by_network(turns: Sequence[TurnRecord], names: Sequence[str]) -> tuple[NetworkFigures, ...]:
    """Return a run's turns by network, in the order of `names`; () if there was only one network."""
    groups: dict[str, list[TurnRecord]] = {name: [] for name in names}
    for turn in turns:
        if turn.scored:
            groups.setdefault(turn.network or CLEAN, []).append(turn)
    clean = _gap_by_utterance(groups.get(CLEAN, []))
    return tuple(_figures_on(name, group, clean) for name, group in groups.items() if group) if len(names) > 1 else ()


def _figures_on(name: str, group: Sequence[TurnRecord], clean: dict[str, float]) -> NetworkFigures:
    counted = valid_turns(group)
    here = _gap_by_utterance(counted)
    later = [gap - clean[utterance] for utterance, gap in here.items() if utterance in clean and name != CLEAN]
    return NetworkFigures(
        name=name,
        turns=counted,
        perceived_gap_ms=stats.latency_figures(perceived_gaps(counted)),
        later_ms=median(later) if later else None,
        later_between_ms=median_interval(np.asarray(later)) if len(later) >= LEAST_PAIRS else None,
        outcomes=dict(Counter(turn.outcome for turn in group)),
        stages=stage_figures(counted),
    )


def _gap_by_utterance(turns: Sequence[TurnRecord]) -> dict[str, float]:
    """Return the gap of each utterance (the median, if it was answered more than once)."""
    gaps: dict[str, list[float]] = {}
    for turn in valid_turns(turns):
        if turn.is_good and turn.turn_gap_ms is not None:
            gaps.setdefault(turn.utterance_id, []).append(turn.turn_gap_ms)
    return {utterance: median(values) for utterance, values in gaps.items()}
