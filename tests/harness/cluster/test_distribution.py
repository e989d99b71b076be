"""Several callers and one run: they start together, a lost one costs its running calls, every turn is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.clock import NS_PER_MS, SystemClock
from turngap.cluster.messages import Enough, Failed, Go, Share, Stop
from turngap.cluster.run import run_on_callers, run_shared_session
from turngap.corpus.clips import Corpus
from turngap.model.records import CallRecord
from turngap.model.result import Verdict
from turngap.model.turn import TurnRecord
from turngap.scenario import Scenario, Turn
from turngap.session import plan
from turngap.session.agent_run import AssignedCall, open_run
from turngap.session.request import Options, Request
from turngap.session.runner import FinishedRun, Session
from turngap.session.timed_calls import TimedCall
from turngap.store import folder as store
from turngap_agent.errors import AgentError, HarnessError, UsageError

from tests.harness.cluster.fake_callers import FakeCaller

N_TURNS = 12
SCENARIO = Scenario(
    name="shared",
    turns=tuple(Turn(id=f"t{index}", say=f"Utterance number {index}.") for index in range(N_TURNS)),
    simultaneous_calls=6,
    warm_up_turns=1,
)


class Display:
    """Remembers what is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started = 0
        self.shown = 0

    def show_message(self, text: str) -> None:
        self.lines.append(text)

    def show_start(self, turns: int) -> None:
        self.started = turns

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        self.shown += 1


def make_request(out: Path, **changes: object) -> Request:
    request = plan.plan_run(SCENARIO, url="ws://127.0.0.1:9/media", options=Options(out=out))
    return replace(request, **changes)  # type: ignore[arg-type]


def run(
    request: Request, callers: Sequence[FakeCaller], display: Display | None = None, stop: asyncio.Event | None = None
) -> FinishedRun:
    async def work() -> FinishedRun:
        corpus = Corpus({}, (), request.scenario)
        return await run_on_callers(
            request, corpus, callers, display or Display(), clock=SystemClock(), stop=stop or asyncio.Event()
        )

    return asyncio.run(work())


def test_callers_share_the_calls_of_one_run(tmp_path: Path) -> None:
    """Each call once, the warm-up with the first caller; the folder reads as any other, and names the callers."""
    callers, display = [FakeCaller(f"caller {number}") for number in (1, 2, 3)], Display()
    finished = run(make_request(tmp_path), callers, display)
    stored = store.read_run(finished.folder.path)
    assert stored.record.complete
    assert stored.record.verdict is Verdict.MEASURED
    assert sorted(turn.utterance_id for turn in stored.turns if turn.scored) == sorted(f"t{n}" for n in range(N_TURNS))
    assert (display.started, display.shown) == (N_TURNS, N_TURNS + 1)
    assert [(one.name, one.calls, one.turns, one.lost) for one in stored.record.callers] == [
        ("caller 1", 5, 4, ""),
        ("caller 2", 4, 4, ""),
        ("caller 3", 4, 4, ""),
    ]
    assert [share.slots for caller in callers for share in caller.shares] == [2, 2, 2]
    assert all(caller.ended and caller.told.count(Go) == 1 for caller in callers)
    assert "a note of caller 2" in stored.record.notes
    assert {turn.boot_id for turn in stored.turns} == {f"boot caller {number}" for number in (1, 2, 3)}


def test_a_lost_caller_costs_its_running_call_and_the_others_place_it(tmp_path: Path) -> None:
    """The run is complete, and says who was lost, where, and during which call."""
    callers = [FakeCaller("caller 1"), FakeCaller("caller 2", place="node b", lost_at=1), FakeCaller("caller 3")]
    display = Display()
    finished = run(make_request(tmp_path), callers, display)
    record = store.read_run(finished.folder.path).record
    assert record.complete
    assert record.n_turns == N_TURNS
    lost = next(one for one in record.callers if one.name == "caller 2")
    assert (lost.calls, lost.lost, len(lost.lost_calls)) == (1, "its node died", 1)
    (index,) = lost.lost_calls
    assert f"caller 2 (node b) was lost: its node died; call {index} was under way" in record.notes
    assert sum(len(share.calls) for caller in callers if caller is not callers[1] for share in caller.shares[1:]) == 3
    assert any(line.startswith("warning: caller 2") for line in display.lines)


def test_a_caller_lost_before_the_start_holds_nobody_up(tmp_path: Path) -> None:
    """The others begin without it, and place its calls afterwards."""
    finished = run(make_request(tmp_path), [FakeCaller("caller 1"), FakeCaller("caller 2", lost_at=-1)])
    assert finished.record.complete
    assert finished.record.callers[1].lost_calls == ()


def test_when_all_callers_are_lost_finished_turns_are_kept(tmp_path: Path) -> None:
    """The run is not complete, and the error says why and how to resume it."""
    finished = run(make_request(tmp_path), [FakeCaller("caller 1", lost_at=3), FakeCaller("caller 2", lost_at=2)])
    assert isinstance(finished.error, HarnessError)
    assert "all callers were lost" in str(finished.error)
    assert "turngap run --resume" in str(finished.error)
    assert not finished.record.complete
    assert finished.record.n_turns == 4  # a warm-up and two, and two


def test_an_agent_that_is_not_there_ends_the_run_before_any_call(tmp_path: Path) -> None:
    """No folder is left, and the callers are ended."""
    failed = Failed("ws://127.0.0.1:9: nothing listens", by_agent=True)
    callers = [FakeCaller("caller 1", fails=failed), FakeCaller("caller 2")]
    with pytest.raises(AgentError, match="nothing listens"):
        run(make_request(tmp_path), callers)
    assert list(tmp_path.iterdir()) == []
    assert all(caller.ended for caller in callers)
    assert Go not in callers[1].told


def test_a_caller_with_another_plan_is_refused(tmp_path: Path) -> None:
    """Nobody begins, no folder is left."""
    callers = [FakeCaller("caller 1"), FakeCaller("caller 2", place="node b", plan_sha256="00")]
    with pytest.raises(UsageError, match=r"caller 2 \(node b\): its calls or their audio are not those of the run"):
        run(make_request(tmp_path), callers)
    assert list(tmp_path.iterdir()) == []
    assert all(Go not in caller.told for caller in callers)


def test_a_stopped_run_keeps_its_turns(tmp_path: Path) -> None:
    """Every caller is told to stop; the rest is for a resumed run."""
    stop = asyncio.Event()

    class StopsAtTurn(Display):
        def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
            super().show_turn(turn, setting)
            if self.shown == 4:
                stop.set()

    callers = [FakeCaller("caller 1"), FakeCaller("caller 2")]
    finished = run(make_request(tmp_path), callers, StopsAtTurn(), stop)
    assert finished.interrupted
    assert 0 < finished.record.n_turns < N_TURNS
    assert all(Stop in caller.told for caller in callers)
    rest = plan.plan_resumed_run(finished.folder.path)
    assert len([call for call in rest.missing if not call.warm_up]) == N_TURNS - finished.record.n_turns
    again = run(rest, [FakeCaller("caller 1"), FakeCaller("caller 2")])
    assert again.record.complete
    assert [one.name for one in again.record.callers].count("caller 1") == 2


def test_callers_stop_once_the_verdict_is_decided(tmp_path: Path) -> None:
    """With a budget: no further call is begun, as in a run of one caller."""
    request = plan.plan_run("gate", url="ws://127.0.0.1:9/media", budget="edge500-audio", options=Options(out=tmp_path))
    request = replace(request, scenario=request.scenario.model_copy(update={"simultaneous_calls": 4}))
    callers = [FakeCaller("caller 1"), FakeCaller("caller 2")]
    finished = run(request, callers)
    assert finished.record.stopped_early
    assert finished.record.n_turns < request.planned_turns
    assert any(Enough in caller.told for caller in callers)


def test_calls_of_a_load_keep_their_moments(tmp_path: Path) -> None:
    """Divided over the callers with their bystanders; what each placed is counted from the beginning that all had."""
    request = make_request(tmp_path)
    seen: list[CallRecord] = []

    async def work() -> Sequence[Share]:
        agent_run = await open_run(request, Corpus({}, (), request.scenario), SystemClock())
        warm_up = next(call for call in request.calls if call.warm_up)

        def arrange(calls: Sequence[AssignedCall]) -> Sequence[TimedCall]:
            bystanders = [AssignedCall(agent_run, replace(warm_up, index=2_000_000 + place)) for place in range(4)]
            return [TimedCall(one, 50 * NS_PER_MS * place) for place, one in enumerate((*bystanders, *calls))]

        session = Session(
            agent_runs=[agent_run],
            calls=[AssignedCall(agent_run, call) for call in request.calls],
            slots=6,
            sentinel_log=agent_run.folder.path / store.SENTINEL,
            interrupted="interrupted",
            arrange=arrange,
            on_call=seen.append,
        )
        callers = [FakeCaller("caller 1"), FakeCaller("caller 2", clock_ns=10**15)]
        corpus = Corpus({}, (), request.scenario)
        clock, stop = SystemClock(), asyncio.Event()
        assert await run_shared_session(session, corpus, Display(), callers=callers, clock=clock, stop=stop) is None
        agent_run.unlock()
        return [share for caller in callers for share in caller.shares]

    first, second = asyncio.run(work())
    assert [len(share.timed) for share in (first, second)] == [8, 8]
    assert [sum(call.warm_up for call, _ in share.timed) for share in (first, second)] == [2, 2]
    assert [call.warm_up for call in second.calls] == [False] * 6
    starts = {call.index: start_ns for share in (first, second) for call, start_ns in share.timed}
    planned = {record.index: record.planned_ns for record in seen}
    assert len(planned) == N_TURNS
    begin = {planned_ns - starts[index] for index, planned_ns in planned.items() if planned_ns is not None}
    assert len(begin) == 1  # one beginning, though the second caller's clock is days ahead
