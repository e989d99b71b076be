"""The attempt ledger, `attempts.jsonl` in the folder of run folders: every run against a budget, from its beginning.

A line is written when an attempt begins and another one when it ends, each synchronised, under a lock on the file.
Nothing is ever removed: a start without an end is an attempt that was killed, and an attempt stays in the ledger when
its run folder is deleted. A torn line, which a kill or a full disk left, is ended by the next writer and skipped by
readers.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from turngap_agent import files
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import HarnessError, write_error

from turngap.model.plural import plural
from turngap.store import disk

LEDGER = "attempts.jsonl"
ABORTED, UNDER_WAY, NOTHING_MEASURED = "aborted", "under way", "nothing measured"
"""How an attempt stands that has no verdict."""


class AttemptStart(FrozenModel):
    """The line of an attempt that begins."""

    event: Literal["start"] = "start"
    attempt: str
    """Its id; a resumed run is the same attempt."""
    time: str
    """ISO 8601, UTC."""
    run: str
    """The name of its run folder."""
    agent: str
    """The profile's name, or the URL."""
    fingerprint: str
    """Identifies the build of the agent."""
    build: dict[str, str] = Field(default_factory=dict)
    """What the fingerprint is made of."""
    scenario: str
    scenario_sha256: str
    budget: str
    budget_sha256: str
    """Of the budget's content, as canonical JSON."""
    seed: int
    scenario_seed: int
    turns: int | None = None
    """`--turns`; None for the whole scenario."""
    planned: int
    available: int
    """The scenario's turns; if fewer are planned, `subset` says which."""
    subset: str
    """SHA-256 of the planned utterances in their order: two attempts with the same one place the same calls."""


class AttemptEnd(FrozenModel):
    """The line of an attempt that ended; of several, which a resumed run has, the last one counts."""

    event: Literal["end"] = "end"
    attempt: str
    time: str
    verdict: str
    """As in `run.json`; "" where there is none."""
    turns: int
    """Scored turns."""
    complete: bool
    """False for a run that was interrupted, or ended by an error."""
    ended: str
    """How, in a few words."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt in the ledger."""

    start: AttemptStart
    end: AttemptEnd | None = None
    under_way: bool = False
    """A process writes its run folder at this moment."""

    @property
    def status(self) -> str:
        """Its verdict, or "aborted", "under way", "nothing measured"."""
        if self.under_way:
            return UNDER_WAY
        if self.end is None:
            return ABORTED
        if self.end.complete:
            return self.end.verdict
        return ABORTED if self.end.turns else NOTHING_MEASURED

    @property
    def counts(self) -> bool:
        """Whether somebody may have learnt from it how the agent does: not if no turn was measured."""
        return self.status != NOTHING_MEASURED


_LINE: TypeAdapter[AttemptStart | AttemptEnd] = TypeAdapter(
    Annotated[AttemptStart | AttemptEnd, Field(discriminator="event")]
)


def check_ledger(folder: Path) -> None:
    """Check before anything starts that attempts can be entered in `folder`, which is made if it is missing.

    Raises:
        UsageError: the folder or the ledger can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LEDGER).open("ab"):
            pass
    except OSError as error:
        raise write_error(
            f"{folder / LEDGER}: the attempt cannot be entered, and a run with a budget needs that", error
        ) from None


def enter(folder: Path, line: AttemptStart | AttemptEnd) -> None:
    """Append a line to the ledger in `folder` and wait until the disk has it.

    Raises:
        HarnessError: it can't be written.
    """
    file = folder / LEDGER
    try:
        is_new = not file.exists()
        with file.open("a+b", buffering=0) as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            size = os.fstat(ledger.fileno()).st_size
            torn = size > 0 and os.pread(ledger.fileno(), 1, size - 1) != b"\n"
            disk.append_bytes(ledger, b"\n" * torn + line.model_dump_json().encode() + b"\n")
        if is_new:
            files.sync_folder(folder)
    except OSError as error:
        raise HarnessError(f"{file}: cannot be written ({error.strerror or error})") from None


def read_attempts(folder: Path) -> tuple[tuple[Attempt, ...], tuple[str, ...]]:
    """Return the attempts in the ledger of `folder`, in the order of their beginning, and notes on skipped lines.

    Without a ledger there are none.

    Raises:
        HarnessError: the ledger can't be read.
    """
    file = folder / LEDGER
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return (), ()
    except OSError as error:
        raise HarnessError(f"{file}: cannot be read ({error.strerror or error})") from None
    attempts: dict[str, Attempt] = {}
    skipped = 0
    for text in lines:
        if not text.strip():
            continue
        try:
            line = _LINE.validate_json(text)
        except ValidationError:
            skipped += 1
            continue
        if isinstance(line, AttemptStart):
            attempts.setdefault(line.attempt, Attempt(line))
        elif line.attempt in attempts:
            attempts[line.attempt] = replace(attempts[line.attempt], end=line)
        else:
            skipped += 1
    notes = (f"{LEDGER}: {plural(skipped, 'torn line was', 'torn lines were')} skipped",) if skipped else ()
    known = tuple(
        replace(attempt, under_way=True)
        if (attempt.end is None or not attempt.end.complete) and disk.is_locked(folder / attempt.start.run)
        else attempt
        for attempt in sorted(attempts.values(), key=lambda attempt: attempt.start.time)
    )
    return known, notes


def select_same(attempts: Sequence[Attempt], this: AttemptStart) -> tuple[Attempt, ...]:
    """Return the attempts on the same build and budget as `this` that count, `this` included."""
    key = (this.fingerprint, this.budget_sha256)
    return tuple(
        attempt
        for attempt in attempts
        if (attempt.start.fingerprint, attempt.start.budget_sha256) == key
        and (attempt.counts or attempt.start.attempt == this.attempt)
    )


def count_statuses(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Return how many attempts have each status: verdicts first, in the order of PASS to INVALID."""
    counts = Counter(attempt.status for attempt in attempts)
    known = [name for name in ("PASS", "FAIL", "NOT SHOWN", "INVALID", ABORTED, UNDER_WAY) if name in counts]
    return {name: counts[name] for name in (*known, *sorted(set(counts) - set(known)))}


def hash_json(data: object) -> str:
    """Return the SHA-256 of plain data, as canonical JSON: keys sorted, no spaces."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
