"""One sweep: an agent for each setting, and every call placed with all of them before the next call."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import TurngapError, UsageError

from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.session import runner
from turngap.session.agent_run import Dealt, Subject
from turngap.session.runner import Audience, Session
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.sweep import folder, request
from turngap.sweep.folder import SweepRecord
from turngap.sweep.request import SweepRequest


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep that has ended, by itself or not."""

    record: SweepRecord
    path: Path
    error: TurngapError | None = None
    """What ended it before its time; it stands in the runs too."""


async def sweep(asked: SweepRequest, corpus: Corpus, audience: Audience, *, clock: Clock, stop: asyncio.Event) -> Swept:
    """Do what `asked` asks; setting `stop` ends it politely, with the turns that are finished kept.

    Raises:
        HarnessError: a folder can't be written.
    """
    asked = request.begun(asked, clock.unix_ns())
    path = asked.path
    assert path is not None
    RunFolder(path).mend()
    error: TurngapError | None = None
    subjects: list[Subject] = []
    try:
        for member in asked.members:
            row = member.row
            subjects.append(await runner.enter(member.request, corpus, clock, name=row.name, folder_name=row.slug))
        if subjects:
            interrupted = "the sweep was interrupted; the finished turns are kept, and"
            session = Session(
                subjects=subjects,
                dealt=dealt(subjects, asked.record.seed),
                at_once=1,
                sentinel_log=path / store.SENTINEL,
                interrupted=f"{interrupted} `turngap sweep --resume {path}` completes it",
            )
            error = await runner.attend(session, corpus, audience, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError):
        if not any(subject.request.resumed or subject.progress.turns for subject in subjects):
            for subject in subjects:
                shutil.rmtree(subject.folder.path, ignore_errors=True)
        if not any((path / row.slug).exists() for row in asked.record.settings):
            shutil.rmtree(path, ignore_errors=True)  # nothing happened that is worth a folder
        raise
    for subject in subjects:
        runner.conclude(subject, corpus, clock)
    record = folder.measured(path, asked.record)
    folder.write(path, record)
    return Swept(record, path, error)


def dealt(subjects: Sequence[Subject], seed: int) -> list[Dealt]:
    """The calls still to be placed: each with every setting, in an order of its own, before the next call."""
    found = []
    waiting = [{call.index: call for call in subject.request.missing} for subject in subjects]
    for index in sorted({index for calls in waiting for index in calls}):
        order = list(range(len(subjects)))
        random.Random(f"{seed} {index}").shuffle(order)
        found += [Dealt(subjects[place], waiting[place][index]) for place in order if index in waiting[place]]
    return found
