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
from turngap.session.agent_run import AgentRun, AssignedCall
from turngap.session.runner import ProgressDisplay, Session
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.sweep import folder, plan
from turngap.sweep.folder import SweepRecord
from turngap.sweep.plan import SweepRequest


@dataclass(frozen=True, slots=True)
class FinishedSweep:
    """A sweep that has ended, by itself or not."""

    record: SweepRecord
    path: Path
    error: TurngapError | None = None
    """What ended it before its time; it stands in the runs too."""


async def run_sweep(
    asked: SweepRequest, corpus: Corpus, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event
) -> FinishedSweep:
    """Do what `asked` asks; setting `stop` ends it politely, with the turns that are finished kept.

    Raises:
        HarnessError: a folder can't be written.
    """
    asked = plan.begun(asked, clock.unix_ns())
    path = asked.path
    assert path is not None
    RunFolder(path).mend()
    error: TurngapError | None = None
    agent_runs: list[AgentRun] = []
    try:
        for member in asked.members:
            row = member.row
            agent_runs.append(await runner.open_run(member.request, corpus, clock, name=row.name, folder_name=row.slug))
        if agent_runs:
            interrupted = "the sweep was interrupted; the finished turns are kept, and"
            session = Session(
                agent_runs=agent_runs,
                calls=interleave_calls(agent_runs, asked.record.seed),
                at_once=1,
                sentinel_log=path / store.SENTINEL,
                interrupted=f"{interrupted} `turngap sweep --resume {path}` completes it",
            )
            error = await runner.run_session(session, corpus, display, clock=clock, stop=stop)
    except (UsageError, asyncio.CancelledError):
        if not any(agent_run.request.resumed or agent_run.progress.turns for agent_run in agent_runs):
            for agent_run in agent_runs:
                shutil.rmtree(agent_run.folder.path, ignore_errors=True)
        if not any((path / row.slug).exists() for row in asked.record.settings):
            shutil.rmtree(path, ignore_errors=True)  # nothing happened that is worth a folder
        raise
    for agent_run in agent_runs:
        runner.close_run(agent_run, corpus, clock)
    record = folder.measured(path, asked.record)
    folder.write(path, record)
    return FinishedSweep(record, path, error)


def interleave_calls(agent_runs: Sequence[AgentRun], seed: int) -> list[AssignedCall]:
    """The calls still to be placed: each with every setting, in an order of its own, before the next call."""
    found = []
    waiting = [{call.index: call for call in agent_run.request.missing} for agent_run in agent_runs]
    for index in sorted({index for calls in waiting for index in calls}):
        order = list(range(len(agent_runs)))
        random.Random(f"{seed} {index}").shuffle(order)
        found += [AssignedCall(agent_runs[place], waiting[place][index]) for place in order if index in waiting[place]]
    return found
