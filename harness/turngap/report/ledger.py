"""The runs with a budget on one build of the agent, from the ledger beside the run folders."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import TurngapError

from turngap.model.result import RunRecord
from turngap.store import ledger
from turngap.store.ledger import Entry, EntryStart


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One run in the report's table."""

    started: str
    run: str
    status: str
    turns: int | None
    """Scored turns; None for a run that was killed."""
    planned: int
    ended: str
    differences: tuple[str, ...]
    """In what it differs from the run that is reported."""
    is_this: bool


def list_entries(path: Path, record: RunRecord) -> tuple[EntryRow, ...]:
    """Return the entries on the build of the run in folder `path`, in the order of their beginning.

    Runs by other budgets and on other scenarios are among them, and so are aborted ones and those whose folders are
    gone. () for a run that is in no ledger: a report does not depend on its neighbours.
    """
    if record.ledger is None:
        return ()
    known: Sequence[Entry] = ()
    with contextlib.suppress(TurngapError):
        known, _ = ledger.read_entries(path.resolve().parent)
    this = next((each.start for each in known if each.start.entry == record.ledger.entry), None)
    if this is None:
        return ()
    return tuple(_make_row(each, this) for each in known if each.start.fingerprint == this.fingerprint)


def _make_row(entry: Entry, this: EntryStart) -> EntryRow:
    start, end = entry.start, entry.end
    return EntryRow(
        started=start.time,
        run=start.run,
        status=entry.status,
        turns=end.turns if end is not None else None,
        planned=start.planned,
        ended=end.ended if end is not None else "",
        differences=tuple(_describe_differences(start, this)),
        is_this=start.entry == this.entry,
    )


def _describe_differences(other: EntryStart, this: EntryStart) -> list[str]:
    differences = []
    if other.budget_sha256 != this.budget_sha256:
        differences.append(f"budget {other.budget}" if other.budget != this.budget else "another version of the budget")
    if other.scenario_sha256 != this.scenario_sha256:
        same_name = other.scenario == this.scenario
        differences.append("another version of the scenario" if same_name else f"scenario {other.scenario}")
    elif other.planned != this.planned:
        differences.append(f"{other.planned} turns planned")
    elif other.subset != this.subset:
        differences.append("another corpus")
    return differences
