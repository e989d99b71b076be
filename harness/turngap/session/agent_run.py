"""One run of one agent: its request, folder, record (`run.json`) and progress; opened, and closed with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.records import Clip
from turngap.model.result import RunRecord
from turngap.scenario import PlannedCall
from turngap.session import network_plan, reply_scripts, run_record
from turngap.session.plan import Request
from turngap.session.run_record import Judge, Progress
from turngap.store import folder as store
from turngap.store import recording
from turngap.store.folder import RunFolder
from turngap.verdict import gate


@dataclass(slots=True)
class AgentRun:
    """The run of one agent. A session measures one; in a sweep, one for each setting."""

    request: Request
    folder: RunFolder
    record: RunRecord
    """`run.json` so far."""
    progress: Progress
    started_ns: int
    """On the host's monotonic clock; the run's duration is counted from here."""
    name: str = ""
    """Unique in its session: the setting of a sweep; "" where the session has one run."""
    calls_placed: int = field(default=0, init=False)
    """Calls to the agent in this session."""

    def prefixed(self, text: str) -> str:
        """`text` with the run's name before it where it has one."""
        return f"{self.name}: {text}" if self.name else text

    def unlock(self) -> None:
        """Release the run's folder for other processes."""
        for lock in (self.folder.lock, self.request.resumed.lock if self.request.resumed is not None else None):
            if lock is not None:
                lock.release()

    @property
    def is_empty(self) -> bool:
        """True while a new run has no turns: its folder is not worth keeping."""
        return self.request.resumed is None and not self.progress.turns


@dataclass(frozen=True, slots=True)
class AssignedCall:
    """A planned call, and the run whose agent it is placed to."""

    agent_run: AgentRun
    call: PlannedCall


async def open_run(
    request: Request, corpus: Corpus, clock: Clock, *, name: str = "", folder_name: str | None = None
) -> AgentRun:
    """Open the request's run: a new folder with its `run.json`, or the folder of the resumed run.

    `name` distinguishes it from the session's other runs; `folder_name` replaces the folder's default name, which is
    made of time, scenario and profile.

    Raises:
        UsageError: the folder can't be made there.
        HarnessError: the folder can't be written.
    """
    progress = Progress(notes=[*corpus.notes, *_request_notes(request)])
    record = await run_record.new_record(request, clock)
    if request.resumed is None:
        folder = RunFolder.create(request.options.out, folder_name or record.run_id, record, request.scenario_text)
        record = record.model_copy(update={"run_id": folder.path.name})
    else:
        folder = RunFolder(request.resumed.path)
        folder.repair()
        progress.turns = list(request.resumed.turns)
        resumed = f"resumed {record.started}; lateness is that of the calls since then"
        progress.notes += [*request.resumed.notes, resumed]
        record = run_record.resumed_record(record, request.resumed.record)
    return AgentRun(request, folder, record, progress, clock.now_ns(), name)


def close_run(
    agent_run: AgentRun,
    clips: Mapping[str, Clip],
    clock: Clock,
    *,
    judge: Judge | None = None,
    finish: Callable[[RunRecord], RunRecord] = lambda record: record,
) -> RunRecord:
    """Judge the run's turns, write `run.json` and `turns.jsonl`, and delete the recordings that nobody needs.

    `judge` makes the verdict, by default `gate.judge_run` with the budget. `finish` changes the record before it is
    written.

    Raises:
        HarnessError: the folder can't be written.
    """
    request, folder, progress = agent_run.request, agent_run.folder, agent_run.progress
    turns = recording.drop_references(folder.path, sorted(progress.turns, key=lambda turn: (turn.call, turn.turn)))
    progress.turns = list(turns)
    judge = judge or partial(gate.judge_run, budget=request.budget, plan=agent_run.record.stopping_plan)
    duration_s = agent_run.record.duration_s + (clock.now_ns() - agent_run.started_ns) / 1e9
    record = run_record.final_record(
        agent_run.record.model_copy(update={"duration_s": duration_s}),
        folder,
        progress,
        judge(turns, run_record.collect_evidence(request, folder, progress)),
        sources={key: clip.source for key, clip in clips.items()},
    )
    record = finish(record)
    folder.replace_turns(turns)
    folder.write(record)
    recording.delete_unused(folder.path, folder.path / store.CALLS, turns)
    return record


def _request_notes(request: Request) -> list[str]:
    """Notes on the request that a reader of the run's figures needs, one line each."""
    notes = []
    if request.options.inject:
        notes.append(f"delays were put into the agent on purpose: {', '.join(request.options.inject)}")
    if changed := request.scenario.overrides(request.profile_name):
        keys = ", ".join(override.partition("=")[0] for override in changed)
        notes.append(f"the scenario changes the profile: {keys}")
    notes += network_plan.network_notes(request.networks)
    if request.profile is not None and request.profile.weightless:
        notes.append(reply_scripts.NOTE)
    return notes
