"""The entry of a run with a budget in the ledger: made before the run starts, and closed when it has ended."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from turngap_agent.errors import RunFolderError

from turngap.clock import Clock
from turngap.model.budget import Budget
from turngap.model.result import LedgerSummary, RunRecord
from turngap.session import fingerprint
from turngap.session.request import Request
from turngap.store import ledger
from turngap.store.ledger import Entry, EntryEnd, EntryStart
from turngap.verdict import stopping

JUDGED_BY = {"limits", "network", "sequential", "bursts"}
"""Keys of a budget that may change a verdict."""


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """The entry of a run that has begun."""

    folder: Path
    """The folder of run folders, with the ledger."""
    start: EntryStart
    planned: int
    budget: Budget
    clock: Clock

    def close(self, record: RunRecord, ended: str) -> LedgerSummary:
        """Enter how the run ended, and return which attempt on its build it is.

        Raises:
            HarnessError: the ledger can't be read or written.
        """
        end = EntryEnd(
            entry=self.start.entry,
            time=_now(self.clock),
            verdict=record.verdict,
            turns=record.n_turns,
            complete=record.complete,
            ended=ended,
        )
        ledger.enter(self.folder, end)
        known, _ = ledger.read_entries(self.folder)
        same = ledger.select_same([_ended(each, end) for each in known], self.start)
        summary = summarise_entries(self.start, same)
        probability = pass_probability(self.budget, [each.start.planned for each in same])
        return summary.model_copy(update={"pass_probability": probability})

    def close_without_turns(self, ended: str) -> None:
        """Enter that the run ended before its first turn: its folder is not kept, and it does not count.

        Raises:
            HarnessError: the ledger can't be written.
        """
        time = _now(self.clock)
        end = EntryEnd(entry=self.start.entry, time=time, verdict="", turns=0, complete=False, ended=ended)
        ledger.enter(self.folder, end)


async def open_entry(request: Request, folder: Path, record: RunRecord, clock: Clock) -> OpenEntry | None:
    """Enter the run in `folder` in the ledger beside it; a resumed run keeps its entry. None without a budget.

    Raises:
        UsageError: the ledger can't be written there.
        RunFolderError: the agent of the resumed run is not the build that the run began with.
        HarnessError: the disk is full.
    """
    if request.budget is None:
        return None
    beside, budget, earlier = folder.parent, request.budget, record.ledger
    ledger.check_ledger(beside)
    build = await fingerprint.identify_build(request)
    identity = fingerprint.make_fingerprint(build)
    known = _find_start(beside, folder.name, earlier) if request.resumed is not None else None
    began_with = known.fingerprint if known is not None else earlier.fingerprint if earlier is not None else identity
    if began_with != identity:
        raise RunFolderError(
            f"{folder}: {_describe_change(known.build if known is not None else {}, build)} since the run began, and "
            "turns of two builds make no verdict: restore it, or start a new run",
            code="run-folder.build",
        )
    if known is not None:
        ledger.enter(beside, known)  # from here on it is a run that was not ended, whatever it was before
        return OpenEntry(beside, known, request.planned_turns, budget, clock)
    utterances = [turn.key for call in request.calls for turn in call.scored_turns]
    start = EntryStart(
        entry=earlier.entry if earlier is not None else secrets.token_hex(6),
        time=_now(clock),
        run=folder.name,
        agent=request.url or request.profile_name,
        fingerprint=identity,
        build=build,
        scenario=request.scenario.name,
        scenario_sha256=request.scenario_sha256,
        budget=budget.name,
        budget_sha256=ledger.hash_json(budget.model_dump(mode="json", include=JUDGED_BY)),
        turns=request.options.n_turns,
        planned=request.planned_turns,
        subset=ledger.hash_json(utterances),
    )
    ledger.enter(beside, start)
    return OpenEntry(beside, start, request.planned_turns, budget, clock)


def summarise_entries(this: EntryStart, same: Sequence[Entry]) -> LedgerSummary:
    """Return which of the runs on one build `this` is, how they ended, and how many have the same budget."""
    number = next((place for place, each in enumerate(same, 1) if each.start.entry == this.entry), 0)
    return LedgerSummary(
        entry=this.entry,
        fingerprint=this.fingerprint,
        number=number,
        counts=ledger.count_statuses(same),
        with_this_budget=sum(each.start.budget_sha256 == this.budget_sha256 for each in same),
    )


def pass_probability(budget: Budget, planned: Sequence[int]) -> float:
    """Return the probability that at least one run ends with PASS, for an agent exactly at the budget.

    `planned` are the planned turns of each run, by the ledger. The agent is exactly at one limit, the one at which it
    passes most often, and well within the others. A limit without a plan counts with its confidence. Of what kind the
    turns were is not in the ledger: each limit counts as planned for all of them.
    """
    none_passes = 0.0
    for turns, tries in Counter(planned).items():
        plan = stopping.plan_run(budget, turns)
        once = [1 - limit.confidence for limit in budget.limits if stopping.find_plan(plan, limit) is None]
        for limit in budget.limits:
            own = stopping.find_plan(plan, limit)
            if own is not None:
                once.append(own.course(own.miss_rate).passes)
        none_passes += tries * math.log1p(-max(once))
    return -math.expm1(none_passes)


def _find_start(beside: Path, run: str, earlier: LedgerSummary | None) -> EntryStart | None:
    """Return how the resumed run began, by its id or, in a run that was killed at once, by its folder's name."""
    for entry in ledger.read_entries(beside)[0]:
        if entry.start.entry == earlier.entry if earlier is not None else entry.start.run == run:
            return entry.start
    return None


def _describe_change(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what of the agent is another one: "the agent has changed (source, package torch)"."""
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    return f"the agent has changed ({', '.join(changed)})" if before else "the agent has changed"


def _ended(entry: Entry, end: EntryEnd) -> Entry:
    """Return the entry; the one that ends just now is not under way, although this process has its folder's lock."""
    return replace(entry, end=end, under_way=False) if entry.start.entry == end.entry else entry


def _now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.unix_ns() / 1e9, UTC).isoformat(timespec="seconds")
