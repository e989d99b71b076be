"""A run compared with its baseline: same, faster, slower or ambiguous, and by how much. Pure.

The budget decides; this is a second gate. Unanswered turns (None) rank above every answered one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from scipy import stats
from turngap_agent.tracing import Stage

from turngap.model.plural import plural
from turngap.model.result import RunRecord, caveat
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict.stats import Floats, Values, percentile, sort_values
from turngap.verdict.summary import valid_turns

Alternative = Literal["greater", "less", "two-sided"]
LEAST_PAIRS = 6
"""With fewer, no p-value of signed ranks is small, and an interval is meaningless."""


class Change(StrEnum):
    """The result of a comparison."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    AMBIGUOUS = "ambiguous"
    TOO_FEW = "too few"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Head against base: p-values of "slower" and "faster" by more than the tolerance, and the size of the change."""

    change: Change
    p_slower: float
    p_faster: float
    median_change_ms: float | None
    """Median of head minus that of base, with its 95 % bootstrap interval; None if turns were not answered."""
    low_ms: float | None
    high_ms: float | None


def compare_samples(
    head: Values, base: Values, *, tolerance_ms: float | None = None, alpha: float = 0.01, seed: int = 1
) -> Comparison:
    """Compare two runs by Mann-Whitney's U; "same" needs the interval of the median to lie inside the tolerance.

    The tolerance is 5 % of the base's median, where none is given.

    Raises:
        ValueError: a value is nan, or a run has no turns.
    """
    new, old = sort_values(head), sort_values(base)
    if not len(new) or not len(old):
        raise ValueError("a comparison needs turns on both sides")
    shift_ms = default_tolerance_ms(base) if tolerance_ms is None else tolerance_ms
    p_slower = float(stats.mannwhitneyu(new, old + shift_ms, alternative="greater").pvalue)
    p_faster = float(stats.mannwhitneyu(new + shift_ms, old, alternative="less").pvalue)
    size = low = high = None
    if np.isfinite(new).all() and np.isfinite(old).all():
        size = float(np.median(new) - np.median(old))
        low, high = _median_change(new, old, np.random.default_rng(seed))
    comparison = Comparison(Change.AMBIGUOUS, p_slower, p_faster, size, low, high)
    return decide(comparison, p_slower, p_faster, shift_ms, alpha)


def default_tolerance_ms(base: Values, least_ms: float = 0.0) -> float:
    """Return what counts as no change: 5 % of the base's median, but at least `least_ms`."""
    return max(least_ms, 0.05 * (percentile(base, 0.5) or 0.0))


def compare_paired(
    head: Values, base: Values, *, tolerance_ms: float, alpha: float = 0.01, seed: int = 1
) -> Comparison:
    """Compare replays of the same utterances in the same order by Wilcoxon's signed ranks; at least one pair.

    Raises:
        ValueError: a value is nan, or the runs' lengths differ or are 0.
    """
    if len(head) != len(base) or not len(head):
        raise ValueError(f"{len(head)} and {len(base)} turns are no pairs")
    answered = np.isfinite(sort_values([*head, *base]))
    later = 1e6 + 10 * float(sort_values([*head, *base])[answered].max(initial=0.0))
    new, old = (np.asarray([later if v is None else v for v in values], np.float64) for values in (head, base))
    p_slower = paired_p_value(list(new), list(old + tolerance_ms), "greater")
    p_faster = paired_p_value(list(new + tolerance_ms), list(old), "less")
    size = low = high = None
    if answered.all():
        size, low, high = median_interval(new - old, seed)
    comparison = Comparison(Change.AMBIGUOUS, p_slower, p_faster, size, low, high)
    return decide(comparison, p_slower, p_faster, tolerance_ms, alpha)


def median_interval(moved: Floats, seed: int = 1) -> tuple[float, float, float]:
    """Return the median of paired differences (at least one) and its 95 % percentile-bootstrap interval."""
    drawn = np.median(np.random.default_rng(seed).choice(moved, (2000, len(moved))), axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.median(moved)), float(low), float(high)


def without_finding(comparison: Comparison) -> Comparison:
    """Return a comparison of fewer than `LEAST_PAIRS` turns without its finding: the observed change is left."""
    return replace(comparison, change=Change.TOO_FEW, p_slower=1.0, p_faster=1.0, low_ms=None, high_ms=None)


def decide(
    comparison: Comparison, p_slower: float, p_faster: float, tolerance_ms: float, alpha: float = 0.01
) -> Comparison:
    """Return the comparison with those p-values, such as adjusted ones, and the finding that follows from them."""
    if p_slower < alpha:
        change = Change.SLOWER
    elif p_faster < alpha:
        change = Change.FASTER
    elif (
        comparison.low_ms is not None
        and comparison.high_ms is not None
        and max(-comparison.low_ms, comparison.high_ms) <= tolerance_ms
    ):
        change = Change.SAME
    else:
        change = Change.AMBIGUOUS
    return replace(comparison, change=change, p_slower=p_slower, p_faster=p_faster)


def paired_p_value(head: Sequence[float], base: Sequence[float], alternative: Alternative = "greater") -> float:
    """Return Wilcoxon's signed-rank p-value for replays of the same utterances in the same order; 1.0 if equal."""
    difference = np.asarray(head, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    if np.isnan(difference).any():
        raise ValueError("nan among paired values")
    return float(stats.wilcoxon(difference, alternative=alternative).pvalue) if difference.any() else 1.0


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini-Hochberg adjusted p-values, for many stages at once."""
    return [float(p) for p in stats.false_discovery_control(p_values, method="bh")] if p_values else []


def _median_change(new: Floats, old: Floats, rng: np.random.Generator, times: int = 2000) -> tuple[float, float]:
    drawn = np.median(rng.choice(new, (times, len(new))), axis=1) - np.median(
        rng.choice(old, (times, len(old))), axis=1
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


LEAST_MS = 5.0
"""A stage that changes by less than this counts as unchanged, however short it is."""
_Pairs = Sequence[tuple[TurnRecord, TurnRecord]]


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """The change of one latency between two runs."""

    stage: Stage | None
    """None: the turn gap."""
    paired: bool
    """Turns are paired by utterance; otherwise the runs' turns are two samples."""
    n_head: int
    n_base: int
    comparison: Comparison
    """The p-values of stages are adjusted for the number of stages that can be judged (Benjamini-Hochberg)."""

    def to_json(self) -> dict[str, Any]:
        """Return the change as `turngap compare --json` prints it."""
        return {("found" if name == "comparison" else name): value for name, value in asdict(self).items()}

    @property
    def turns(self) -> str:
        """`12 pairs`, or the turns on either side."""
        return plural(self.n_head, "pair") if self.paired else f"{self.n_head}, {self.n_base}"

    @property
    def interval_missing(self) -> str:
        """The reason why there is no interval."""
        return "too few" if self.comparison.change is Change.TOO_FEW else "turns were not answered"


def compare_turns(head: Sequence[TurnRecord], base: Sequence[TurnRecord]) -> list[LatencyChange]:
    """Compare the turn gap, then each stage that both runs have; [] if a run has no turns to compare."""
    pairs = _pairs(head, base)
    gaps = _compare_latency(None, head, base, pairs, _gap_ms, 0.0)
    comparison = [_compare_latency(stage, head, base, pairs, _exposed_ms_of(stage), LEAST_MS) for stage in Stage]
    stages = [row for row in comparison if row is not None]
    enough = [(row, tolerance_ms) for row, tolerance_ms in stages if row.comparison.change is not Change.TOO_FEW]
    rows = [row for row, _ in enough]
    slower, faster = (
        adjust_p_values([r.comparison.p_slower for r in rows]),
        adjust_p_values([r.comparison.p_faster for r in rows]),
    )
    judged = {
        row.stage: replace(row, comparison=decide(row.comparison, *p_values, tolerance_ms))
        for (row, tolerance_ms), p_values in zip(enough, zip(slower, faster, strict=True), strict=True)
    }
    return [*([gaps[0]] if gaps is not None else []), *(judged.get(row.stage, row) for row, _ in stages)]


def describe_too_few(rows: Sequence[LatencyChange]) -> list[str]:
    """Return a line for each number of turns that is too small to find a difference; largest number first."""
    fewest = {min(row.n_head, row.n_base): row for row in rows if row.comparison.change is Change.TOO_FEW}
    return [
        f"{plural(count, 'pair' if row.paired else 'turn')}: too few to find a difference ({LEAST_PAIRS} are needed)"
        for count, row in sorted(fewest.items(), reverse=True)
    ]


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


def _pairs(head: Sequence[TurnRecord], base: Sequence[TurnRecord]) -> _Pairs | None:
    """Return pairs of turns of the same utterance, if both runs have the same utterances, each once."""
    new, old = ({turn.utterance_id: turn for turn in turns if turn.scored} for turns in (head, base))
    once = len(new) == sum(turn.scored for turn in head) and len(old) == sum(turn.scored for turn in base)
    if not once or new.keys() != old.keys():
        return None
    both = [(new[key], old[key]) for key in new]
    return [pair for pair in both if Outcome.INVALID not in (pair[0].outcome, pair[1].outcome)]


def _compare_latency(
    stage: Stage | None,
    head: Sequence[TurnRecord],
    base: Sequence[TurnRecord],
    pairs: _Pairs | None,
    values: Callable[[TurnRecord], Sequence[float | None]],
    least_ms: float,
) -> tuple[LatencyChange, float] | None:
    """Return the change and its tolerance, ms; `values` returns a turn's value in a list, or [] if it has none."""
    new: Values
    old: Values
    if pairs is not None:
        values_by_pair = [(values(one)[0], values(other)[0]) for one, other in pairs if values(one) and values(other)]
        new, old = [one for one, _ in values_by_pair], [other for _, other in values_by_pair]
    else:
        new, old = ([value for turn in valid_turns(turns) for value in values(turn)] for turns in (head, base))
    if not new or not old:
        return None
    tolerance_ms = default_tolerance_ms(old, least_ms)
    by = compare_paired if pairs is not None else compare_samples
    comparison = by(new, old, tolerance_ms=tolerance_ms)
    if min(len(new), len(old)) < LEAST_PAIRS:
        comparison = without_finding(comparison)
    return LatencyChange(stage, pairs is not None, len(new), len(old), comparison), tolerance_ms


def _gap_ms(turn: TurnRecord) -> Sequence[float | None]:
    return [turn.turn_gap_ms if turn.is_good else None] if turn.expectation.needs_answer else []


def _exposed_ms_of(stage: Stage) -> Callable[[TurnRecord], Sequence[float | None]]:
    def values(turn: TurnRecord) -> Sequence[float | None]:
        return [turn.stages[stage].exposed_ms] if turn.is_good and turn.stages and stage in turn.stages else []

    return values
