"""Whether a budget holds at a load, and whether the instrument was fit to tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from turngap.capacity.points import Decision
from turngap.model.budget import Budget
from turngap.model.result import Check, RunRecord, Verdict
from turngap.model.stopping import StoppingPlan
from turngap.model.turn import TurnRecord
from turngap.verdict import gate
from turngap.verdict.gate import Evidence, Judgement

OWN_CHECKS = (
    "harness",
    "calibration",
    "sentinel",
    "sentinel's spread",
    "sentinel's watch",
    "lateness",
    "foreign load",
)
"""The checks that say whether the instrument was late, or the machine used by others."""
DEPENDENCE_CHECKS = ("drift", "runs of misses", "autocorrelation", "stretches")
"""The checks that the turns do not depend on each other: under a load they may fail because of the load."""
MOST_START_LATE_MS = 5.0
"""Calls that we place later than this lower the load, and count as the agent's delay."""


def judge_loaded_run(
    turns: Sequence[TurnRecord], evidence: Evidence, budget: Budget | None = None, plan: StoppingPlan | None = None
) -> Judgement:
    """Return the verdict on a point's turns: FAIL whatever they depend on; PASS only if they are independent.

    In an ordinary run turns that drift or miss in runs make it INVALID, since nobody knows why. Here the load is why: a
    budget that is missed is missed. But a PASS by turns that depend on each other would be worth less than its
    confidence says, so it is NOT SHOWN.
    """
    judgement = gate.judge_run(turns, replace(evidence, loaded=True), budget, plan)
    if judgement.verdict is not Verdict.PASS or budget is None:
        return judgement
    dependent = find_failed(judgement.checks, DEPENDENCE_CHECKS)
    if not dependent:
        return judgement
    reasons = tuple(f"the turns depend on each other: {check.text}" for check in dependent)
    sentence = f"{budget.name} is not shown to hold: {reasons[0]}."
    return Judgement(Verdict.NOT_SHOWN, sentence, reasons, judgement.checks)


def find_failed(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """Return the checks of those names that failed, with a budget or, as a warning, without."""
    return [check for check in checks if check.name in names and (check.ok is False or check.warning)]


def list_own_faults(record: RunRecord, start_p99_ms: float | None) -> tuple[str, ...]:
    """Return why a run says nothing about the agent, a clause each; () if the instrument kept up."""
    faults = [check.text for check in find_failed(record.validity, OWN_CHECKS)]
    if start_p99_ms is not None and start_p99_ms > MOST_START_LATE_MS:
        faults.append(
            f"calls were placed up to {start_p99_ms:.0f} ms (p99) later than planned, over {MOST_START_LATE_MS:g} ms"
        )
    return tuple(faults)


def decide(record: RunRecord, own_faults: Sequence[str]) -> Decision:
    """Return what a point's run shows; INVALID before anything else where the instrument was late."""
    if own_faults:
        return Decision.INVALID
    failed = {check.name for check in record.validity if check.ok is False}
    if record.verdict is Verdict.INVALID and record.complete and failed == {"answers"}:
        return Decision.MEASURED  # nobody was answered: a load that is too much, and no fault of the instrument
    return {
        Verdict.PASS: Decision.HOLDS,
        Verdict.FAIL: Decision.DOES_NOT_HOLD,
        Verdict.NOT_SHOWN: Decision.NOT_SHOWN,
        Verdict.MEASURED: Decision.MEASURED,
        Verdict.INVALID: Decision.INVALID,
    }[record.verdict]
