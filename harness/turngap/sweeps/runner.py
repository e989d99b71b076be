"""Runs a sweep: one agent for each setting, and every call placed to all of them before the next call."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent import files
from turngap_agent.errors import TurngapError, UsageError

from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.session import runner
from turngap.session.agent_run import AgentRun, AssignedCall, close_run, open_run
from turngap.session.runner import ProgressDisplay, Session
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.sweeps import folder, plan
from turngap.sweeps.folder import SweepRecord
from turngap.sweeps.plan import SweepRequest


@dataclass(frozen=True, slots=True)
class FinishedSweep:
    """A sweep that has ended, complete or not."""

    record: SweepRecord
    path: Path
    error: TurngapError | None = None
    """What ended it early; the records of its runs state it too."""


async def run_sweep(
    request: SweepRequest, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> FinishedSweep:
    """Run a sweep. Setting `stop` ends it early: calls hang up, and the finished turns are kept.

    Where the task is cancelled, the `CancelledError` has a message: what is kept, and how to resume.

    Raises:
        HarnessError: a folder can't be written.
    """
    request = plan.with_folder(request, clock.unix_ns())
    try:
        return await _run_members(request, corpus, display, clock=clock, stop=stop)
    finally:
        if request.lock is not None:
            request.lock.release()


async def _run_members(
    request: SweepRequest, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> FinishedSweep:
    path = request.path
    assert path is not None
    RunFolder(path).repair()
    files.remove_drafts(path, folder.SWEEP)
    command = store.resume_command(path, "sweep")
    interrupted = f"the sweep was interrupted; its finished turns are kept: resume it with `{command}`"
    error: TurngapError | None = None
    agent_runs: list[AgentRun] = []
    if len(request.record.settings) == 1:
        display.show_message("warning: the sweep has a single setting, so there is nothing to compare it with")
    try:
        for member in request.members:
            row = member.row
            agent_run = await open_run(member.request, corpus, clock, name=row.name, folder_name=row.slug)
            for note in member.notes:
                display.show_message(agent_run.prefixed(note))
            agent_run.progress.notes += member.notes
            agent_runs.append(agent_run)
        if agent_runs:
            session = Session(
                agent_runs=agent_runs,
                calls=interleave_calls(agent_runs, request.record.seed),
                slots=1,
                sentinel_log=path / store.SENTINEL,
                interrupted=interrupted,
            )
            error = await runner.run_session(session, corpus, display, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError) as ending:
        runner.remove_empty_folders(agent_runs)
        if not any((path / row.slug).exists() for row in request.record.settings):
            shutil.rmtree(path, ignore_errors=True)
        elif isinstance(ending, asyncio.CancelledError):  # settings that were complete before this session are kept
            raise asyncio.CancelledError(interrupted) from None
        raise
    else:
        for agent_run in agent_runs:
            close_run(agent_run, corpus.clips, clock)
    finally:
        for agent_run in agent_runs:
            agent_run.unlock()
    record = folder.updated_record(path, request.record)
    folder.write_sweep(path, record)
    return FinishedSweep(record, path, error)


def interleave_calls(agent_runs: Sequence[AgentRun], seed: int) -> list[AssignedCall]:
    """Return the missing calls: each placed to all settings, in a seeded order of its own, before the next call."""
    calls = []
    missing = [{call.index: call for call in agent_run.request.missing} for agent_run in agent_runs]
    for index in sorted({index for own in missing for index in own}):
        order = list(range(len(agent_runs)))
        random.Random(f"{seed} {index}").shuffle(order)
        calls += [AssignedCall(agent_runs[place], missing[place][index]) for place in order if index in missing[place]]
    return calls
