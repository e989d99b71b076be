"""Whole runs against the scripted agent, as a user starts them: finished, interrupted, killed, resumed, bereft."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import jsonschema
import psutil
from turngap.model.result import Verdict
from turngap.model.turn import Outcome
from turngap.processes import child
from turngap.store import folder as store
from turngap.store import ledger
from turngap_agent.tracing import Stage

from tests.harness.tones import SCRIPTED, scenario_of_tones

SCHEMA = Path(__file__).parents[3] / "docs" / "run.schema.json"
PATIENCE_S = 120
ON_A_BUSY_MACHINE = {Outcome.ANSWERED, Outcome.BROKEN, Outcome.INVALID}
"""A turn is INVALID where our own caller was late, BROKEN where the agent's next piece was; no more may go wrong."""


def turngap(*arguments: str) -> list[str]:
    return child.python_command("turngap", *arguments)


@contextmanager
def running_session(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A `turngap` command that is ended with the block, and leaves no process of its own behind."""
    process = subprocess.Popen(turngap(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(stream: IO[str] | None, text: str) -> None:
    """Read lines until one has `text` in it."""
    assert stream is not None
    seen = []
    while select.select([stream], [], [], PATIENCE_S)[0] and (line := stream.readline()):
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"no {text!r} in {''.join(seen)}")


def only_run(results: Path) -> Path:
    (folder,) = results.iterdir()
    return folder


def all_ended(processes: list[psutil.Process]) -> bool:
    """True when all of them end by themselves."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_a_run_leaves_everything_a_report_needs(tmp_path: Path) -> None:
    """Two turns: run.json, as its schema says, on stdout alone; turns with stages, spans, samples, recordings, report.

    The user's Twilio token changes nothing: the agent we start asks for no signature.
    """
    results = tmp_path / "results"
    arguments = ("run", str(scenario_of_tones(tmp_path, 2)), *SCRIPTED, "--out", str(results), "--json")
    env = dict(os.environ) | {"TWILIO_AUTH_TOKEN": "secret"}
    done = subprocess.run(turngap(*arguments), env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    folder = only_run(results)
    printed = json.loads(done.stdout)
    run = store.read_run(folder)
    assert printed == json.loads((folder / store.RUN).read_text())
    jsonschema.validate(printed, json.loads(SCHEMA.read_text("utf-8")))
    assert (run.record.complete, run.record.n_turns, run.record.planned_turns) == (True, 2, 2)
    assert set(run.record.outcomes) <= ON_A_BUSY_MACHINE
    off = {check.name for check in run.record.validity if check.ok is False}
    assert off <= {"calibration", "sentinel", "samples"}
    assert run.record.verdict is (Verdict.INVALID if off else Verdict.MEASURED)
    assert done.returncode == run.record.verdict.exit_code
    assert run.record.instrument.calibration is not None
    assert run.record.instrument.sentinel is not None
    assert [turn.warm_up for turn in run.turns] == [True, False, False]
    assert run.turns[0].cold
    for turn in run.turns[1:]:
        assert turn.turn_gap_ms is not None
        assert turn.turn_gap_ms > 300
        if turn.outcome is Outcome.ANSWERED:
            assert turn.transcript == "scripted words"
            assert turn.stages is not None
            assert turn.stages[Stage.TRANSCRIPTION].exposed_ms >= 40  # its injected delay, and what the machine adds
    heard = [turn.audio for turn in run.turns if turn.audio is not None]
    assert heard  # the representative turn and the worst may be one
    for kept in heard:
        with wave.open(str(folder / kept)) as audio:
            assert (audio.getnchannels(), audio.getframerate()) == (2, 8000)
    assert (folder / store.SPANS).read_text().count(f'"{run.turns[1].call_sid}"') > 5
    agent = run.record.agent
    assert agent.ready_s is not None
    assert agent.rss_mib is not None
    assert agent.cpu_s is not None
    assert agent.loop_lag_p99_ms is not None
    assert run.record.instrument.send is not None
    assert run.record.corpus.distinct_utterances == 2
    assert run.record.environment["gpu"]
    assert (tmp_path / "reports" / f"{folder.name}.html").is_file()


def test_ctrl_c_keeps_finished_turns(tmp_path: Path) -> None:
    """One line that says how to go on, exit code 2, nothing left running, the turn under way not counted."""
    results = tmp_path / "results"
    with running_session("run", str(scenario_of_tones(tmp_path, 3)), *SCRIPTED, "--out", str(results)) as process:
        wait_for(process.stderr, "1/3")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert all_ended(family)
    folder = only_run(results)
    (line,) = [each for each in err.splitlines() if each.startswith("turngap: error: ")]
    assert f"`turngap run --resume {folder}`" in line
    assert "Traceback" not in err
    before = store.read_run(folder)
    assert (before.record.complete, before.record.verdict) == (False, Verdict.INVALID)
    assert 1 <= len([turn for turn in before.turns if turn.scored]) < 3


def test_a_second_signal_names_the_folder_that_resumes(tmp_path: Path) -> None:
    """Ended at once in mid-call, a space in its path: the line has the run's real path, and `--resume` takes it."""
    results = tmp_path / "all results"
    with running_session("run", str(scenario_of_tones(tmp_path, 3)), *SCRIPTED, "--out", str(results)) as process:
        wait_for(process.stderr, "1/3")
        process.send_signal(signal.SIGTERM)
        wait_for(process.stderr, "finishing up")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    folder = only_run(results)
    (line,) = [each for each in err.splitlines() if each.startswith("turngap: error: ")]
    assert f"`turngap run --resume '{folder}'`" in line
    assert not store.read_run(folder).record.complete


def test_ctrl_c_before_the_first_call_leaves_nothing(tmp_path: Path) -> None:
    """There is nothing to keep: one line, exit code 2, no folder, no process."""
    results = tmp_path / "results"
    with running_session("run", str(scenario_of_tones(tmp_path, 1)), *SCRIPTED, "--out", str(results)) as process:
        wait_for(process.stderr, "calibrating")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("turngap: error: interrupted")
    assert "--resume" not in err
    assert "Traceback" not in err
    assert all_ended(family)
    assert list(results.iterdir()) == []


def test_kill_9_loses_no_finished_turn_and_leaves_no_process(tmp_path: Path) -> None:
    """The agent and the rest end by themselves, the folder renders, and --resume makes only the missing calls."""
    results = tmp_path / "results"
    with running_session("run", str(scenario_of_tones(tmp_path, 2)), *SCRIPTED, "--out", str(results)) as process:
        wait_for(process.stderr, "1/2")
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.kill()
        process.wait()
        assert all_ended(family)
    folder = only_run(results)
    kept = {turn.call: turn.call_sid for turn in store.read_run(folder).turns if turn.scored}
    assert kept
    assert subprocess.run(turngap("report", str(folder)), check=False).returncode == 0
    with running_session("run", "--resume", str(folder)) as process:
        process.communicate(timeout=PATIENCE_S)
    after = store.read_run(folder)
    assert (after.record.complete, after.record.n_turns) == (True, 2)
    assert {turn.call: turn.call_sid for turn in after.turns if turn.call in kept} == kept


def test_an_agent_that_dies_in_mid_call_is_named(tmp_path: Path) -> None:
    """One line with its log, exit code 2, finished turns kept, INVALID with the reason in run.json."""
    results = tmp_path / "results"
    with running_session("run", str(scenario_of_tones(tmp_path, 3)), *SCRIPTED, "--out", str(results)) as process:
        wait_for(process.stderr, "1/3")
        for each in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "serve" in each.cmdline():
                    os.kill(each.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE_S)
    run = store.read_run(only_run(results))
    assert process.returncode == 2
    (line,) = [each for each in err.splitlines() if each.startswith("turngap: error: ")]
    assert line.startswith("turngap: error: the agent died (killed by SIGKILL)")
    assert "agent.log" in line
    assert run.record.verdict is Verdict.INVALID
    assert any("the agent died" in reason for reason in run.record.reasons)
    assert run.turns[1].outcome in ON_A_BUSY_MACHINE


def test_every_utterance_is_called_under_each_network(tmp_path: Path) -> None:
    """Two utterances under two networks: four turns, interleaved, each with its network."""
    arguments = (
        "run",
        str(scenario_of_tones(tmp_path, 2)),
        *SCRIPTED,
        "--out",
        str(tmp_path / "results"),
    )
    networks = ("--network", "clean", "--network", "wifi-burst")
    done = subprocess.run(turngap(*arguments, *networks), capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode in (0, 2), done.stderr
    run = store.read_run(only_run(tmp_path / "results"))
    assert list(run.record.networks) == ["clean", "wifi-burst"]
    scored = [turn for turn in run.turns if turn.scored]
    assert [turn.network for turn in scored] == ["", "wifi-burst", "wifi-burst", ""]
    assert [turn.utterance_id for turn in scored[::2]] == [turn.utterance_id for turn in scored[1::2]]
    assert len({turn.utterance_id for turn in scored}) == 2
    assert any("under each of the networks clean, wifi-burst" in note for note in run.record.notes)
    (page,) = (tmp_path / "reports").glob("*.html")
    assert "wifi-burst" in page.read_text()


def test_a_killed_gate_is_aborted_until_it_is_resumed(tmp_path: Path) -> None:
    """SIGKILL leaves its entry; the resumed run keeps the entry, stops once it is decided, and is complete.

    The next run on that build is the second attempt, and says so.
    """
    scenario = scenario_of_tones(tmp_path, 20, gate="true", probe="true", shuffle="turns")
    budget, results = tmp_path / "ten.yaml", tmp_path / "results"
    budget.write_text("name: ten\nlimits: [{metric: turn_gap_ms, at_most: 10}]\n")
    arguments = ("run", str(scenario), *SCRIPTED, "--budget", str(budget), "--out", str(results))
    with running_session(*arguments) as session:
        wait_for(session.stderr, "1/20")
        session.send_signal(signal.SIGKILL)
        session.wait()
    (killed,), _ = ledger.read_entries(results)
    assert (killed.status, killed.start.planned, killed.end) == ("aborted", 20, None)
    folder = results / killed.start.run
    subprocess.run(turngap("run", "--resume", str(folder)), capture_output=True, timeout=PATIENCE_S, check=False)
    run = store.read_run(folder)
    assert run.record.complete
    assert 2 <= run.record.n_turns < 20
    assert "of 20 planned turns" in run.record.stopped_early
    (resumed,), _ = ledger.read_entries(results)
    assert (resumed.start, resumed.status) == (killed.start, run.record.verdict)
    done = subprocess.run(turngap(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "2nd attempt on this build" in " ".join(done.stdout.split())
    assert len(ledger.read_entries(results)[0]) == 2


def test_a_ledger_that_cannot_be_written_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 3, and no run folder."""
    scenario, results = scenario_of_tones(tmp_path, 20, gate="true", probe="true"), tmp_path / "results"
    (results / ledger.LEDGER).mkdir(parents=True)
    arguments = ("run", str(scenario), *SCRIPTED, "--budget", "edge500", "--out", str(results))
    done = subprocess.run(turngap(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert ledger.LEDGER in line
    assert [path.name for path in results.iterdir()] == [ledger.LEDGER]
