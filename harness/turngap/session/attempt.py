"""The attempt that a run with a budget is: entered in the ledger before the run starts, and again when it has ended."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from turngap.clock import Clock
from turngap.model.budget import Budget
from turngap.model.result import AttemptSummary, RunRecord
from turngap.session import fingerprint
from turngap.session.plan import Request
from turngap.store import attempts
from turngap.store.attempts import Attempt, AttemptEnd, AttemptStart
from turngap.verdict import stopping


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that has begun."""

    folder: Path
    """The folder of run folders, with the ledger."""
    start: AttemptStart
    planned: int
    budget: Budget
    clock: Clock

    def close(self, record: RunRecord, ended: str) -> AttemptSummary:
        """Enter how the attempt ended, and return which one it is.

        Raises:
            HarnessError: the ledger can't be read or written.
        """
        end = AttemptEnd(
            attempt=self.start.attempt,
            time=_now(self.clock),
            verdict=record.verdict,
            turns=record.n_turns,
            complete=record.complete,
            ended=ended,
        )
        attempts.enter(self.folder, end)
        known, _ = attempts.read_attempts(self.folder)
        same = attempts.select_same([_ended(each, end) for each in known], self.start)
        summary = summarise_attempts(self.start, same)
        probability = pass_probability(self.budget, self.planned, len(same))
        return summary.model_copy(update={"pass_probability": probability})

    def close_without_turns(self, ended: str) -> None:
        """Enter that the attempt ended before its first turn: its folder is not kept, and it does not count.

        Raises:
            HarnessError: the ledger can't be written.
        """
        attempt, time = self.start.attempt, _now(self.clock)
        end = AttemptEnd(attempt=attempt, time=time, verdict="", turns=0, complete=False, ended=ended)
        attempts.enter(self.folder, end)


async def open_attempt(request: Request, folder: Path, record: RunRecord, clock: Clock) -> OpenAttempt | None:
    """Enter the run in `folder` in the ledger beside it; a resumed run is the attempt that it was. None without budget.

    Raises:
        UsageError: the ledger can't be written there.
        HarnessError: the disk is full.
    """
    if request.budget is None:
        return None
    ledger, budget = folder.parent, request.budget
    attempts.check_ledger(ledger)
    earlier = record.attempt
    if request.resumed is not None:
        for attempt in attempts.read_attempts(ledger)[0]:
            start = attempt.start
            if start.attempt == earlier.attempt_id if earlier is not None else start.run == folder.name:
                return OpenAttempt(ledger, start, request.planned_turns, budget, clock)
    build = await fingerprint.identify_build(request)
    utterances = [turn.key for call in request.calls for turn in call.scored_turns]
    start = AttemptStart(
        attempt=earlier.attempt_id if earlier is not None else secrets.token_hex(6),
        time=_now(clock),
        run=folder.name,
        agent=request.url or request.profile_name,
        fingerprint=fingerprint.make_fingerprint(build),
        build=build,
        scenario=request.scenario.name,
        scenario_sha256=request.scenario_sha256,
        budget=budget.name,
        budget_sha256=attempts.hash_json(budget.model_dump(mode="json")),
        seed=request.seed,
        scenario_seed=request.scenario.seed,
        turns=request.options.n_turns,
        planned=request.planned_turns,
        available=len(request.scenario.turns),
        subset=attempts.hash_json(utterances),
    )
    attempts.enter(ledger, start)
    return OpenAttempt(ledger, start, request.planned_turns, budget, clock)


def summarise_attempts(this: AttemptStart, same: Sequence[Attempt]) -> AttemptSummary:
    """Return which of the attempts on one build `this` is, and how they ended."""
    number = next((place for place, each in enumerate(same, 1) if each.start.attempt == this.attempt), 0)
    return AttemptSummary(
        attempt_id=this.attempt,
        fingerprint=this.fingerprint,
        number=number,
        counts=attempts.count_statuses(same),
    )


def pass_probability(budget: Budget, planned: int, tries: int) -> float:
    """Return the probability that of `tries` runs at least one ends with PASS, for an agent exactly at the budget.

    Such an agent is exactly at one limit, the one at which it passes most often, and well within the others. A limit
    without a plan counts with its confidence.
    """
    plan = stopping.plan_run(budget, planned)
    once = [1 - limit.confidence for limit in budget.limits if stopping.find_plan(plan, limit) is None]
    for limit in budget.limits:
        own = stopping.find_plan(plan, limit)
        if own is not None:
            once.append(own.course(own.miss_rate).passes)
    return -math.expm1(tries * math.log1p(-max(once)))


def _ended(attempt: Attempt, end: AttemptEnd) -> Attempt:
    """Return the attempt; the one that ends just now is not under way, although this process has its folder's lock."""
    return replace(attempt, end=end, under_way=False) if attempt.start.attempt == end.attempt else attempt


def _now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.unix_ns() / 1e9, UTC).isoformat(timespec="seconds")
