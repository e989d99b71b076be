"""What becomes of a finished call: lateness frame by frame, turns on the disk, in a process that outlives Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from turngap.model.records import CallEnd
from turngap.model.turn import Outcome
from turngap.processes.span_receiver import CollectedSpans
from turngap.scenario import PlannedCall, Turn
from turngap.session import scoring_process
from turngap.session.scoring_process import ScoringJob, ScoringProcess
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap_agent import tracing
from turngap_agent.errors import HarnessError

from tests.harness import report_builders as builders
from tests.harness.store.test_recording import call


def job(folder: Path, end: CallEnd = CallEnd.AGENT_CLOSED) -> ScoringJob:
    """A call that the agent ended before the one planned turn."""
    planned = PlannedCall(0, (Turn(id="one", say="hello"),), probe=False)
    return ScoringJob(
        folder, replace(call(), end=end, detail="gone"), CollectedSpans((), "no spans"), planned, 95.0, cold=False
    )


def test_a_broken_call_is_saved_with_its_failure(tmp_path: Path) -> None:
    """The turn it never reached is on the disk as failed, with the call's recording."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    scored = scoring_process.score_and_save(job(folder.path))
    assert [(turn.outcome, turn.boot_id) for turn in scored.turns] == [(Outcome.FAILED, tracing.read_boot_id())]
    assert store.read_run(folder.path).turns == scored.turns
    assert (folder.path / "calls" / "0000.wav").is_file()


def test_an_interrupted_call_leaves_no_unfinished_turn(tmp_path: Path) -> None:
    """What Ctrl-C cut off is no outcome of the agent's."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))
    assert scoring_process.score_and_save(job(folder.path, CallEnd.INTERRUPTED)).turns == ()
    assert store.read_run(folder.path).turns == ()


def test_ctrl_c_does_not_stop_the_scoring_process_and_its_death_is_one_line(tmp_path: Path) -> None:
    """SIGINT does not stop it; SIGKILL ends in HarnessError, with what was written kept."""
    folder = RunFolder.create(tmp_path, "run", builders.run_record([]))

    async def scenario() -> None:
        scorer = ScoringProcess()
        await scorer.warm_up()
        os.kill(scorer.pid, signal.SIGINT)
        assert len((await scorer.score_and_save(job(folder.path))).turns) == 1
        os.kill(scorer.pid, signal.SIGKILL)
        with pytest.raises(HarnessError, match="the scoring process died"):
            await scorer.score_and_save(job(folder.path))
        scorer.close()

    asyncio.run(scenario())
    assert len(store.read_run(folder.path).turns) == 1


def test_the_process_ends_with_the_one_that_started_it() -> None:
    """Even when that one is killed: nothing is left behind that holds the run's folder."""
    program = (
        "import asyncio, os, signal; from turngap.session import scoring_process\n"
        "scorer = scoring_process.ScoringProcess(); asyncio.run(scorer.warm_up())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # The child inherits stderr: the pipe ends when both have ended.
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_an_error_in_the_process_is_raised_where_the_job_comes_from(tmp_path: Path) -> None:
    """Its class, message and code survive, and the process scores the next call; a job given up on is done anyway."""
    good = RunFolder.create(tmp_path, "run", builders.run_record([]))

    async def scenario() -> None:
        async with ScoringProcess.running() as scorer:
            with pytest.raises(HarnessError, match="cannot be written") as raised:
                await scorer.score_and_save(job(tmp_path / "missing"))
            assert raised.value.code == "harness"
            task = asyncio.create_task(scorer.score_and_save(job(good.path)))
            await asyncio.sleep(0)
            task.cancel()

    asyncio.run(scenario())
    assert len(store.read_run(good.path).turns) == 1


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    """Nothing imports the user's `__main__` a second time; the run of a plain script has its turn."""
    script = tmp_path / "measure.py"
    script.write_text(
        "import turngap\n"
        "print('started', flush=True)\n"
        "run = turngap.run('smoke', agent=turngap.Agent.profile('scripted'), turns=1)\n"
        "print(run.error, len(run.turn_records) >= 1, run.record.complete)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == ["started", "None True True"], done.stderr
    assert "Traceback" not in done.stderr
