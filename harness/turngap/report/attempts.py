"""The attempts on one build of the agent, from the ledger beside the run folders."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import TurngapError

from turngap.model.result import RunRecord
from turngap.store import attempts
from turngap.store.attempts import Attempt, AttemptStart


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt in the report's table."""

    started: str
    run: str
    status: str
    turns: int | None
    """Scored turns; None for an attempt that was killed."""
    planned: int
    ended: str
    differences: tuple[str, ...]
    """In what it differs from the attempt that is reported."""
    is_this: bool


def list_attempts(path: Path, record: RunRecord) -> tuple[AttemptRow, ...]:
    """Return the attempts on the build of the run in folder `path`, in the order of their beginning.

    Attempts by other budgets and on other scenarios are among them, and so are aborted ones and those whose folders are
    gone. () for a run that is in no ledger: a report does not depend on its neighbours.
    """
    if record.attempt is None:
        return ()
    known: Sequence[Attempt] = ()
    with contextlib.suppress(TurngapError):
        known, _ = attempts.read_attempts(path.resolve().parent)
    this = next((each.start for each in known if each.start.attempt == record.attempt.attempt_id), None)
    if this is None:
        return ()
    return tuple(_make_row(each, this) for each in known if each.start.fingerprint == this.fingerprint)


def _make_row(attempt: Attempt, this: AttemptStart) -> AttemptRow:
    start, end = attempt.start, attempt.end
    return AttemptRow(
        started=start.time,
        run=start.run,
        status=attempt.status,
        turns=end.turns if end is not None else None,
        planned=start.planned,
        ended=end.ended if end is not None else "",
        differences=tuple(_describe_differences(start, this)),
        is_this=start.attempt == this.attempt,
    )


def _describe_differences(other: AttemptStart, this: AttemptStart) -> list[str]:
    differences = []
    if other.budget_sha256 != this.budget_sha256:
        differences.append(f"budget {other.budget}" if other.budget != this.budget else "another version of the budget")
    if other.scenario_sha256 != this.scenario_sha256:
        same_name = other.scenario == this.scenario
        differences.append("another version of the scenario" if same_name else f"scenario {other.scenario}")
    elif other.planned != this.planned:
        differences.append(f"{other.planned} turns planned")
    elif other.subset != this.subset:
        order = "other turns" if other.planned < other.available else "another order"
        differences.append(f"seed {other.seed}: {order}")
    return differences
