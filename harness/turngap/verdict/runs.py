"""One run against another: the turn gap, and each stage's exposed time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from turngap_agent.tracing import Stage

from turngap.model.plural import plural
from turngap.model.result import RunRecord, caveat
from turngap.model.turn import Outcome, TurnRecord
from turngap.verdict.compare import (
    LEAST_PAIRS,
    Change,
    Comparison,
    adjusted,
    compare,
    compare_paired,
    decided,
    tolerance_of,
    undecided,
)
from turngap.verdict.rates import to_be_answered
from turngap.verdict.stats import Values
from turngap.verdict.summary import good, scored

LEAST_MS = 5.0
"""A stage that moves by less than this has not changed, however short it is."""
_Pairs = Sequence[tuple[TurnRecord, TurnRecord]]


@dataclass(frozen=True, slots=True)
class Row:
    """One latency of two runs."""

    stage: Stage | None
    """None: the turn gap."""
    paired: bool
    """By utterance; else the runs' turns are two samples."""
    n_head: int
    n_base: int
    found: Comparison
    """A stage's p-values are adjusted for the number of stages that can be judged (Benjamini-Hochberg)."""

    @property
    def turns(self) -> str:
        """`12 pairs`, or the turns on either side."""
        return plural(self.n_head, "pair") if self.paired else f"{self.n_head}, {self.n_base}"

    @property
    def interval_missing(self) -> str:
        """Why it has no interval."""
        return "too few" if self.found.change is Change.TOO_FEW else "turns were not answered"


def against(head: Sequence[TurnRecord], base: Sequence[TurnRecord]) -> list[Row]:
    """The turn gap, then every stage that both runs have; nothing where a run has no turns to compare."""
    pairs = _pairs(head, base)
    gaps = _row(None, head, base, pairs, _gap, 0.0)
    found = [_row(stage, head, base, pairs, _exposed(stage), LEAST_MS) for stage in Stage]
    stages = [row for row in found if row is not None]
    enough = [(row, tolerance_ms) for row, tolerance_ms in stages if row.found.change is not Change.TOO_FEW]
    rows = [row for row, _ in enough]
    slower, faster = adjusted([r.found.p_slower for r in rows]), adjusted([r.found.p_faster for r in rows])
    judged = {
        row.stage: replace(row, found=decided(row.found, *p_values, tolerance_ms))
        for (row, tolerance_ms), p_values in zip(enough, zip(slower, faster, strict=True), strict=True)
    }
    return [*([gaps[0]] if gaps is not None else []), *(judged.get(row.stage, row) for row, _ in stages)]


def too_few(rows: Sequence[Row]) -> list[str]:
    """A line for each number of turns that no difference can be found in; most turns first."""
    fewest = {min(row.n_head, row.n_base): row for row in rows if row.found.change is Change.TOO_FEW}
    return [
        f"{plural(count, 'pair' if row.paired else 'turn')}: too few to find a difference ({LEAST_PAIRS} are needed)"
        for count, row in sorted(fewest.items(), reverse=True)
    ]


def differences(head: RunRecord, base: RunRecord) -> list[str]:
    """What differs beside the turns, a line each: a change of latency may come from there."""
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
    return notes


def _pairs(head: Sequence[TurnRecord], base: Sequence[TurnRecord]) -> _Pairs | None:
    """Turns of the same utterance, where both runs say the same utterances, each once."""
    new, old = ({turn.utterance_id: turn for turn in turns if turn.scored} for turns in (head, base))
    once = len(new) == sum(turn.scored for turn in head) and len(old) == sum(turn.scored for turn in base)
    if not once or new.keys() != old.keys():
        return None
    both = [(new[key], old[key]) for key in new]
    return [pair for pair in both if Outcome.INVALID not in (pair[0].outcome, pair[1].outcome)]


def _row(
    stage: Stage | None,
    head: Sequence[TurnRecord],
    base: Sequence[TurnRecord],
    pairs: _Pairs | None,
    values: Callable[[TurnRecord], Sequence[float | None]],
    least_ms: float,
) -> tuple[Row, float] | None:
    """The row, and what counts as no change in it, ms; `values` gives a turn's value, or nothing where it has none."""
    new: Values
    old: Values
    if pairs is not None:
        kept = [(values(one)[0], values(other)[0]) for one, other in pairs if values(one) and values(other)]
        new, old = [one for one, _ in kept], [other for _, other in kept]
    else:
        new, old = ([value for turn in scored(turns) for value in values(turn)] for turns in (head, base))
    if not new or not old:
        return None
    tolerance_ms = tolerance_of(old, least_ms)
    by = compare_paired if pairs is not None else compare
    found = by(new, old, tolerance_ms=tolerance_ms)
    if min(len(new), len(old)) < LEAST_PAIRS:
        found = undecided(found)
    return Row(stage, pairs is not None, len(new), len(old), found), tolerance_ms


def _gap(turn: TurnRecord) -> Sequence[float | None]:
    return [turn.turn_gap_ms if good(turn) else None] if to_be_answered(turn) else []


def _exposed(stage: Stage) -> Callable[[TurnRecord], Sequence[float | None]]:
    def values(turn: TurnRecord) -> Sequence[float | None]:
        return [turn.stages[stage].exposed_ms] if good(turn) and turn.stages and stage in turn.stages else []

    return values
