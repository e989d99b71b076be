"""The ledger, `ledger.jsonl` in the folder of run folders: an entry for every run against a budget, from its beginning.

A line is written when a run begins or is resumed and another one when it ends, each synchronised, under a lock on the
file. Nothing is ever removed: a start without an end is a run that was killed, and an entry stays in the ledger when
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

LEDGER = "ledger.jsonl"
ABORTED, UNDER_WAY, NOTHING_MEASURED = "aborted", "under way", "nothing measured"
"""The status of an entry without a verdict."""


class EntryStart(FrozenModel):
    """The line of a run that begins; a resumed one repeats it."""

    event: Literal["start"] = "start"
    entry: str
    """Its id; a resumed run is the same entry."""
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
    """Of what the budget judges by, as canonical JSON: not of its name, its description or its plan."""
    turns: int | None = None
    """`--turns`; None for the whole scenario."""
    planned: int
    subset: str
    """SHA-256 of the planned utterances in their order: two entries with the same one place the same calls."""


class EntryEnd(FrozenModel):
    """The line of a run that ended; of several, which a resumed run has, the last one counts."""

    event: Literal["end"] = "end"
    entry: str
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
class Entry:
    """One run in the ledger."""

    start: EntryStart
    end: EntryEnd | None = None
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


_LINE: TypeAdapter[EntryStart | EntryEnd] = TypeAdapter(Annotated[EntryStart | EntryEnd, Field(discriminator="event")])


def check_ledger(folder: Path) -> None:
    """Check before anything starts that runs can be entered in `folder`, which is made if it is missing.

    Raises:
        UsageError: the folder or the ledger can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LEDGER).open("ab"):
            pass
    except OSError as error:
        raise write_error(
            f"{folder / LEDGER}: the run cannot be entered, and a run with a budget needs that", error
        ) from None


def enter(folder: Path, line: EntryStart | EntryEnd) -> None:
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


def read_entries(folder: Path) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Return the entries in the ledger of `folder`, in the order of their beginning, and notes on skipped lines.

    Without a ledger there are none.

    Raises:
        HarnessError: the ledger can't be read.
    """
    file = folder / LEDGER
    try:
        lines = disk.read_file(file, disk.LARGEST_LINES).split(b"\n")
    except FileNotFoundError:
        return (), ()
    except OSError as error:
        raise HarnessError(f"{file}: cannot be read ({error.strerror or error})") from None
    entries: dict[str, Entry] = {}
    skipped = 0
    for text in lines:
        if not text.strip():
            continue
        try:
            line = _LINE.validate_json(text)
        except ValidationError:
            skipped += 1
            continue
        if isinstance(line, EntryStart):
            first = entries.get(line.entry, Entry(line)).start
            entries[line.entry] = Entry(first)  # of a resumed run, how it ended before no longer counts
        elif line.entry in entries:
            entries[line.entry] = replace(entries[line.entry], end=line)
        else:
            skipped += 1
    notes = (f"{LEDGER}: {plural(skipped, 'torn line was', 'torn lines were')} skipped",) if skipped else ()
    known = tuple(
        replace(entry, under_way=True)
        if (entry.end is None or not entry.end.complete) and _is_written(folder, entry.start.run)
        else entry
        for entry in sorted(entries.values(), key=lambda entry: entry.start.time)
    )
    return known, notes


def _is_written(folder: Path, run: str) -> bool:
    """Whether a process writes the run folder of that name; a name that leads elsewhere is none."""
    return Path(run).name == run and "\0" not in run and disk.is_locked(folder / run)


def select_same(entries: Sequence[Entry], this: EntryStart) -> tuple[Entry, ...]:
    """Return the entries on the same build as `this` that count, `this` included.

    Those by another budget or on another scenario are among them: otherwise a limit of 500.001 in place of 500, or a
    comment in the scenario, would start the count again.
    """
    return tuple(
        entry
        for entry in entries
        if entry.start.fingerprint == this.fingerprint and (entry.counts or entry.start.entry == this.entry)
    )


def count_statuses(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many entries have each status: verdicts first, in the order of PASS to INVALID."""
    counts = Counter(entry.status for entry in entries)
    known = [name for name in ("PASS", "FAIL", "NOT SHOWN", "INVALID", ABORTED, UNDER_WAY) if name in counts]
    return {name: counts[name] for name in (*known, *sorted(set(counts) - set(known)))}


def hash_json(data: object) -> str:
    """Return the SHA-256 of plain data, as canonical JSON: keys sorted, no spaces."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
