"""One run of one agent: its request, folder, record (`run.json`) and progress; opened, and closed with a verdict."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from turngap_agent.errors import TurngapError

from turngap.clock import Clock
from turngap.corpus.clips import Corpus
from turngap.model.health import TraceFile
from turngap.model.records import Clip
from turngap.model.result import LedgerSummary, RunRecord
from turngap.model.turn import TurnRecord
from turngap.scenario import PlannedCall
from turngap.scenario.calls import repeats_in_warm_up
from turngap.scenario.content import make_openings
from turngap.session import network_plan, reply_scripts, reply_transcripts, run_record, stopping, turn_traces
from turngap.session.ledger_entry import OpenEntry, open_entry
from turngap.session.request import Request
from turngap.session.run_record import Judge, Progress
from turngap.session.stopping import StoppingRule
from turngap.store import folder as store
from turngap.store import recording
from turngap.store.folder import RunFolder
from turngap.verdict import gate, replaced
from turngap.verdict.validity import OWN_OPENINGS


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
    rule: StoppingRule | None = None
    """When its verdict is decided before all planned turns were called; None: never."""
    entry: OpenEntry | None = None
    """Its entry in the ledger; None without a budget."""
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

    def set_aside(self) -> list[PlannedCall]:
        """Mark the turns that our own lateness spoilt, and return the calls still to be placed instead of theirs.

        None without a budget: nothing is judged there, and a spoilt turn is only left out of the figures.
        """
        if self.request.budget is None:
            return []
        plan = self.request.call_plan
        self.progress.turns = list(replaced.mark_replaced(self.progress.turns, plan))
        return [self.request.repeat_call(index) for index in replaced.list_repeats(self.progress.turns, plan)]

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
        UsageError: the folder can't be made there, or the run not be entered in the ledger.
        RunFolderError: the agent of the resumed run has changed since the run began.
        HarnessError: the folder can't be written.
    """
    progress, rule = Progress(notes=[*corpus.notes, *_request_notes(request)]), request.make_stopping_rule()
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
        if rule is not None and not request.options.all_turns:
            progress.decided = rule.decide(progress.turns)
    try:
        entry = await open_entry(request, folder.path, record, clock)
    except TurngapError:
        if request.resumed is None:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    if entry is not None:
        identity = LedgerSummary(entry=entry.start.entry, fingerprint=entry.start.fingerprint)
        record = record.model_copy(update={"ledger": identity})
        folder.write(record)
    return AgentRun(request, folder, record, progress, clock.now_ns(), name, rule, entry)


def close_run(
    agent_run: AgentRun,
    clips: Mapping[str, Clip],
    clock: Clock,
    *,
    judge: Judge | None = None,
    finish: Callable[[RunRecord], RunRecord] = lambda record: record,
    says_words: bool = True,
) -> RunRecord:
    """Judge the run's turns, write `run.json` and `turns.jsonl`, and delete the recordings that nobody needs.

    `judge` makes the verdict, by default `gate.judge_run` with the budget. `finish` changes the record before it is
    written. `says_words`: False for an agent that answers with other sounds than speech.

    Raises:
        HarnessError: the folder can't be written.
    """
    request, folder, progress = agent_run.request, agent_run.folder, agent_run.progress
    openings = make_openings(request.scenario.contentless)
    sample_seed = agent_run.record.run_id if request.budget is not None else None
    says_words = says_words and (request.profile is None or request.profile.says_words)
    transcribed = reply_transcripts.transcribe_replies(
        folder.path, progress.turns, openings, sample_seed=sample_seed, says_words=says_words
    )
    progress.turns, progress.content = list(transcribed.turns), transcribed.content
    progress.notes += transcribed.notes
    judged = _mark_turns(agent_run)
    turns = recording.drop_references(folder.path, progress.turns)
    progress.turns = list(turns)
    traces, trace_notes = _write_traces(agent_run)
    progress.notes += trace_notes
    judge = judge or partial(gate.judge_run, budget=request.budget, plan=agent_run.record.stopping_plan)
    duration_s = agent_run.record.duration_s + (clock.now_ns() - agent_run.started_ns) / 1e9
    record = run_record.final_record(
        agent_run.record.model_copy(update={"duration_s": duration_s}),
        folder,
        progress,
        judge(judged, run_record.collect_evidence(request, folder, progress)),
        sources={key: clip.source for key, clip in clips.items()},
    )
    record = finish(record.model_copy(update={"traces": traces}))
    folder.replace_turns(turns)
    folder.write(record)
    if agent_run.entry is not None:
        record = run_record.with_ledger(record, agent_run.entry.close(record, _describe_end(record, progress)))
        folder.write(record)
    recording.delete_unused(folder.path, folder.path / store.CALLS, turns)
    return record


def _write_traces(agent_run: AgentRun) -> tuple[tuple[TraceFile, ...], tuple[str, ...]]:
    """Write the traces that were asked for; return them, and notes on them. A resumed run keeps its earlier ones."""
    request = agent_run.request
    if not request.options.trace_worst:
        return agent_run.record.traces, turn_traces.leave_earlier(agent_run.folder.path, agent_run.record.traces)
    return turn_traces.write_worst_traces(
        agent_run.folder.path, agent_run.progress.turns, request.options.trace_worst, of_url=request.url is not None
    )


def _describe_end(record: RunRecord, progress: Progress) -> str:
    """Return how the run ended, for the ledger."""
    if progress.errors:
        return progress.errors[0]
    if not record.complete:
        return "stopped early, but its transcribed replies decide nothing yet"
    return progress.decided.sentence if progress.decided is not None else "all planned turns were called"


def _mark_turns(agent_run: AgentRun) -> tuple[TurnRecord, ...]:
    """Mark the turns that are not scored for a reason that is known by now; return those by which the run is judged.

    Without `all_turns` the figures are those of the same turns: calls that were under way when the verdict was decided
    are kept, and not scored.
    """
    request, progress = agent_run.request, agent_run.progress
    agent_run.set_aside()
    rule = agent_run.rule
    # Asked once more: the replies are transcribed by now, and with --all-turns nobody has asked before. A run whose
    # decision does not stand is not complete, and can be resumed.
    under_way = progress.decided
    progress.decided = rule.decide(progress.turns) if rule is not None else None
    if under_way is None and rule is not None and rule.has_all(progress.turns) and not request.options.all_turns:
        # Nothing was decided before the last call, such as of replies that are transcribed after it: no turn was
        # called beyond the decision, and all are judged.
        progress.decided = None
    progress.turns.sort(key=lambda turn: (turn.call, turn.turn))
    judged = stopping.select_judged(progress.turns, rule, progress.decided)
    if request.options.all_turns and progress.decided is not None:
        called = f"all {request.planned_turns} turns were called, as --all-turns says"
        progress.notes.append(f"{called}; the verdict was {progress.decided.sentence}")
        return judged
    kept = {(turn.call, turn.turn) for turn in judged}
    progress.turns = [
        turn if (turn.call, turn.turn) in kept else turn.model_copy(update={"scored": False, "overshoot": True})
        for turn in progress.turns
    ]
    return tuple(progress.turns)


def _request_notes(request: Request) -> list[str]:
    """Notes on the request that a reader of the run's figures needs, one line each."""
    notes = []
    if request.options.inject:
        notes.append(f"delays were put into the agent on purpose: {', '.join(request.options.inject)}")
    if changed := request.scenario.overrides(request.profile_name):
        keys = ", ".join(override.partition("=")[0] for override in changed)
        notes.append(f"the scenario changes the profile: {keys}")
    if request.scenario.own_openings:
        notes.append(OWN_OPENINGS)
    if request.seed != request.scenario.seed:
        notes.append(_describe_seed(request))
    if request.budget is not None and repeats_in_warm_up(request.calls):
        notes.append("warm-up calls say utterances that are scored later; the scenario can list others as `lead_ins`")
    notes += network_plan.network_notes(request.networks)
    if request.profile is not None and request.profile.weightless:
        notes.append(reply_scripts.NOTE)
    return notes


def _describe_seed(request: Request) -> str:
    """Return what a seed other than the scenario's own changes."""
    seeds = f"seed {request.seed} instead of the scenario's own {request.scenario.seed}"
    if request.redraws_subset:
        part = f"{request.planned_utterances} of the scenario's {len(request.scenario.turns)} turns"
        return f"{seeds} draws another part of the scenario: {part}, not those of other runs"
    return f"{seeds}: the same turns in another order"
