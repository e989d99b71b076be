"""A run that is closed: which turns are scored, what its record says of the decision, and its entry in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.clock import SystemClock
from turngap.corpus.clips import Corpus
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.session import fingerprint, plan, runner
from turngap.session.agent_run import AgentRun, close_run, open_run
from turngap.session.request import Options, Request
from turngap.session.run_documents import load_scenario
from turngap.session.run_record import Judge
from turngap.session.stopping import Decided
from turngap.store import folder as store
from turngap.store import ledger
from turngap.verdict import gate
from turngap.verdict.gate import Evidence, Judgement
from turngap_agent.errors import RunFolderError

from tests.harness import report_builders as builders

PLANNED = len(load_scenario("gate").turns)


def make_request(out: Path, *, all_turns: bool = False) -> Request:
    """A run of the whole gate against a budget that the turns below miss or meet."""
    options = Options(out=out, all_turns=all_turns)
    return plan.plan_run("gate", profile="scripted", budget="edge500-audio", options=options)


def open_agent_run(request: Request) -> AgentRun:
    return asyncio.run(open_run(request, Corpus({}, (), request.scenario), SystemClock()))


def add_turns(agent_run: AgentRun, n_turns: int, missed: tuple[int, ...] = (), late: tuple[int, ...] = ()) -> None:
    """Give the run its first turns, as a session does; `missed` and `late` are places in the plan's order from 0."""
    calls = [call for call in agent_run.request.calls if not call.warm_up][:n_turns]
    for place, call in enumerate(calls):
        outcome = Outcome.MISSED if place in missed else Outcome.ANSWERED
        last = call.turns[-1].key
        fields = {"call": call.index, "utterance_id": last, "lateness_around_t0_ms": 9.0 if place in late else 0.0}
        agent_run.progress.turns.append(builders.turn(place, outcome=outcome, scale=0.4, **fields))
    rule = agent_run.rule
    assert rule is not None
    if not agent_run.request.options.all_turns:
        agent_run.progress.decided = rule.decide(agent_run.progress.turns)


def close(agent_run: AgentRun, judge: Judge | None = None) -> tuple[RunRecord, tuple[TurnRecord, ...]]:
    """Close the run; return its record and its turns as they are on the disk."""
    agent_run.folder.append(agent_run.progress.turns)
    record = close_run(agent_run, {}, SystemClock(), judge=judge)
    agent_run.unlock()
    run = store.read_run(agent_run.folder.path)
    assert run.record == record
    return run.record, run.turns


def test_a_decided_run_is_complete_and_scores_the_turns_that_decided_it(tmp_path: Path) -> None:
    """Calls that were under way are kept unscored; the verdict and the figures are of the same turns."""
    agent_run = open_agent_run(make_request(tmp_path))
    add_turns(agent_run, 40, missed=tuple(range(40)))
    decided = agent_run.progress.decided
    assert isinstance(decided, Decided)
    record, turns = close(agent_run)
    assert (record.complete, record.n_turns, record.planned_turns) == (True, decided.turns, PLANNED)
    assert record.stopped_early == decided.sentence
    assert [turn.overshoot for turn in turns] == [place >= decided.turns for place in range(40)]
    assert [turn.scored for turn in turns] == [not turn.overshoot for turn in turns]
    assert next(check for check in record.validity if check.name == "complete").ok is True


def test_with_all_turns_the_verdict_is_that_of_the_decision(tmp_path: Path) -> None:
    """Five misses at once show the limit to be missed; 185 good turns after them do not undo that."""
    agent_run = open_agent_run(make_request(tmp_path, all_turns=True))
    add_turns(agent_run, PLANNED, missed=tuple(range(6)))
    judged: list[int] = []

    def judge(turns: Sequence[TurnRecord], evidence: Evidence) -> Judgement:
        judged.append(len(turns))
        return gate.judge_run(turns, evidence, agent_run.request.budget, agent_run.record.stopping_plan)

    record, turns = close(agent_run, judge)
    rule = agent_run.rule
    assert rule is not None
    decided = rule.decide(turns)
    assert decided is not None
    assert judged == [decided.turns]
    assert (record.complete, record.stopped_early, record.n_turns) == (True, "", PLANNED)
    assert all(turn.scored for turn in turns)
    assert any("as --all-turns says" in note for note in record.notes)
    assert record.resume_state.all_turns


def test_a_spoilt_turn_is_kept_and_not_scored(tmp_path: Path) -> None:
    """The run is short of it, and says so, until it has been called again."""
    agent_run = open_agent_run(make_request(tmp_path))
    add_turns(agent_run, 30, late=(3,))
    assert [call.turns for call in agent_run.set_aside()] == [agent_run.request.calls[2 + 3].turns]
    record, turns = close(agent_run)
    assert [turn.replaced for turn in turns] == [place == 3 for place in range(30)]
    assert (record.n_turns, record.complete) == (29, False)


def test_the_run_is_in_the_ledger_from_its_beginning(tmp_path: Path) -> None:
    """Under way while its folder is locked; at its end with verdict and turns; the second one is the 2nd attempt."""
    agent_run = open_agent_run(make_request(tmp_path))
    (entered,), _ = ledger.read_entries(tmp_path)
    assert (entered.status, entered.start.run) == ("under way", agent_run.folder.path.name)
    assert agent_run.record.ledger is not None
    assert (entered.start.planned, entered.start.turns) == (PLANNED, None)
    add_turns(agent_run, 20, missed=tuple(range(20)))
    record, _ = close(agent_run)
    (entered,), _ = ledger.read_entries(tmp_path)
    assert entered.end is not None
    assert (entered.status, entered.end.turns) == (record.verdict, record.n_turns)
    assert record.ledger is not None
    assert (record.ledger.number, "attempt on this build" in record.sentence) == (1, False)
    again = open_agent_run(make_request(tmp_path))
    add_turns(again, 20, missed=tuple(range(20)))
    second, _ = close(again)
    assert second.ledger is not None
    assert second.ledger.number == 2
    assert "2nd attempt on this build" in second.sentence


def test_a_resumed_run_keeps_its_entry(tmp_path: Path) -> None:
    """An interrupted one counts as aborted until it has its verdict."""
    agent_run = open_agent_run(make_request(tmp_path))
    add_turns(agent_run, 1)
    agent_run.progress.errors.append("the run was interrupted")
    record, _ = close(agent_run)
    assert (record.verdict, record.complete) == (Verdict.INVALID, False)
    assert ledger.read_entries(tmp_path)[0][0].status == "aborted"
    request = plan.plan_resumed_run(agent_run.folder.path)
    resumed = asyncio.run(open_run(request, Corpus({}, (), request.scenario), SystemClock()))
    assert resumed.entry is not None
    assert agent_run.entry is not None
    assert resumed.entry.start == agent_run.entry.start
    resumed.progress.turns.clear()
    add_turns(resumed, 20, missed=tuple(range(20)))
    done, _ = close(resumed)
    assert done.complete
    (entered,), _ = ledger.read_entries(tmp_path)
    assert entered.status == done.verdict


@pytest.mark.parametrize("ledger_is_there", [True, False])
def test_a_run_is_not_resumed_with_another_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger_is_there: bool
) -> None:
    """Code that changed after the interruption: one line says what; the run is as it was, and no entry is new."""
    agent_run = open_agent_run(make_request(tmp_path))
    add_turns(agent_run, 1)
    agent_run.progress.errors.append("the run was interrupted")
    record, _ = close(agent_run)
    lines = (tmp_path / ledger.LEDGER).read_bytes()
    if not ledger_is_there:
        (tmp_path / ledger.LEDGER).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(fingerprint, "PACKAGE", "turngap")  # other files than those that the run began with
        with pytest.raises(RunFolderError) as error:
            resume(agent_run.folder.path)
    assert error.value.code == "run-folder.build"
    assert ("the agent has changed (source)" in str(error.value)) == ledger_is_there
    assert "\n" not in str(error.value)
    assert (tmp_path / ledger.LEDGER).read_bytes() == (lines if ledger_is_there else b"")
    assert store.read_run(agent_run.folder.path).record == record
    resume(agent_run.folder.path).unlock()


def resume(path: Path) -> AgentRun:
    request = plan.plan_resumed_run(path)
    try:
        return asyncio.run(open_run(request, Corpus({}, (), request.scenario), SystemClock()))
    except BaseException:
        request.release_lock()
        raise


def test_a_run_that_measured_nothing_does_not_count(tmp_path: Path) -> None:
    """Its folder is removed; the ledger keeps it, and does not count it."""
    agent_run = open_agent_run(make_request(tmp_path))
    agent_run.unlock()
    assert runner.remove_empty_folders([agent_run])
    (entered,), _ = ledger.read_entries(tmp_path)
    assert (entered.status, entered.counts) == ("nothing measured", False)


def test_an_old_run_without_a_plan_is_judged_when_it_has_ended(tmp_path: Path) -> None:
    """It began with one test of all its turns, and stays so."""
    agent_run = open_agent_run(make_request(tmp_path))
    agent_run.unlock()
    agent_run.folder.write(agent_run.record.model_copy(update={"stopping_plan": None}))
    request = plan.plan_resumed_run(agent_run.folder.path)
    assert request.make_stopping_rule() is None
    assert replace(request, resumed=None).make_stopping_rule() is not None
    request.release_lock()


def test_a_decision_that_transcribed_replies_take_back_leaves_the_run_open(tmp_path: Path) -> None:
    """The turns that decided it are asked once more at the end; if they decide nothing, the run can be resumed."""
    agent_run = open_agent_run(make_request(tmp_path))
    add_turns(agent_run, 10)
    agent_run.progress.decided = Decided(10, "decided after 10 of 206 planned turns")
    record, turns = close(agent_run)
    assert (record.complete, record.stopped_early, agent_run.progress.decided) == (False, "", None)
    assert all(turn.scored for turn in turns)
    assert ledger.read_entries(tmp_path)[0][0].status == "aborted"
    plan.plan_resumed_run(agent_run.folder.path).release_lock()
