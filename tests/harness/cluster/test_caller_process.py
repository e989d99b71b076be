"""Real caller processes against a real agent: turns and recordings of both arrive; a killed one is noticed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from turngap.clock import SystemClock
from turngap.cluster.callers import LocalCaller
from turngap.cluster.run import run_on_callers
from turngap.corpus import clips
from turngap.model.turn import TurnRecord
from turngap.processes.agent import RunningAgent, serve_command
from turngap.session import plan, reply_transcripts
from turngap.session.reply_transcripts import Transcribed
from turngap.session.request import Options
from turngap.session.runner import FinishedRun
from turngap.store import folder as store
from turngap_agent import profile

from tests.harness.cluster.test_distribution import Display
from tests.harness.tones import scenario_of_tones

SCRIPTED = profile.PROFILES / "scripted.yaml"


@pytest.mark.timeout(240)
def test_a_killed_caller_process_costs_the_run_nothing_but_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes share four calls; one is killed in the middle, and the other places what it has not done."""
    # The agent answers with tones, in which a recogniser would look for words for seconds.
    monkeypatch.setattr(reply_transcripts, "transcribe_replies", lambda _, turns, *__, **___: Transcribed(tuple(turns)))

    async def work() -> tuple[FinishedRun, Display]:
        agent = await RunningAgent.start(serve_command(SCRIPTED), log=tmp_path / "agent.log", endpoint=None)
        try:
            scenario = scenario_of_tones(tmp_path, 4, simultaneous_calls=2, probe="true")
            request = plan.plan_run(scenario, url=agent.ready.url, options=Options(out=tmp_path / "out"))
            callers = [LocalCaller("caller 1"), LocalCaller("caller 2")]

            class KillsAtTurn(Display):
                def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
                    super().show_turn(turn, setting)
                    victim = callers[1].pid
                    if turn.boot_id.endswith("caller 2") and victim is not None and self.shown < 100:
                        self.shown = 100
                        os.kill(victim, signal.SIGKILL)

            display, corpus = KillsAtTurn(), clips.build_corpus(request.scenario, lambda line: None)
            return (
                await run_on_callers(request, corpus, callers, display, clock=SystemClock(), stop=asyncio.Event()),
                display,
            )
        finally:
            await agent.stop()

    finished, _ = asyncio.run(work())
    stored = store.read_run(finished.folder.path)
    assert finished.error is None
    assert stored.record.complete
    assert stored.record.n_turns == 4
    first, second = stored.record.callers
    assert second.lost == "its process ended"
    assert (first.turns + second.turns, first.lost) == (4, "")
    assert {turn.boot_id.rpartition(" ")[2] for turn in stored.turns} == {"1", "2"}
    assert stored.record.instrument.send is not None
    assert stored.record.instrument.calibration is not None
    assert [turn.audio for turn in stored.turns if turn.audio]
    assert all((finished.folder.path / turn.audio).is_file() for turn in stored.turns if turn.audio)
