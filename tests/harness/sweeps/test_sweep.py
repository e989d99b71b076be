"""Whole sweeps against the scripted agent, as a user starts them: finished, killed, resumed, refused."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from turngap.cli import app
from turngap.clock import SystemClock
from turngap.corpus.clips import Corpus
from turngap.progress import ConsoleProgress
from turngap.session import runner as session_runner
from turngap.session.request import Options
from turngap.store import folder as store
from turngap.sweeps import folder, grid, plan, runner
from turngap_agent import profile as profiles

from tests.harness import report_builders
from tests.harness.session.test_runner import (
    ON_A_BUSY_MACHINE,
    PATIENCE_S,
    all_ended,
    only_run,
    running_session,
    turngap,
    wait_for,
)
from tests.harness.tones import SCRIPTED, scenario_of_tones

LONG_S = 5 * PATIENCE_S
"""Several agents start on a machine that may have other work."""


def settings(path: Path) -> tuple[str, ...]:
    """Two values of the scripted agent's; its replies are short, in a profile of its own, so that one value is its."""
    own = path / "scripted.yaml"
    shipped = (profiles.PROFILES / "scripted.yaml").read_text("utf-8")
    own.write_text(shipped.replace("tts: {engine: scripted}", "tts: {engine: scripted, ms_per_character: 15}"))
    return ("--profile", str(own), "--set", "endpointing.min_silence_ms=150,200")


def test_a_sweep_measures_each_utterance_under_every_setting_before_the_next(tmp_path: Path) -> None:
    """sweep.json on stdout alone, a run folder a setting, calls interleaved, one calibration, a report."""
    results = tmp_path / "results"
    arguments = ("sweep", str(scenario_of_tones(tmp_path, 2)), *settings(tmp_path), "--out", str(results), "--json")
    done = subprocess.run(turngap(*arguments), capture_output=True, text=True, timeout=LONG_S, check=False)
    path = only_run(results)
    assert json.loads(done.stdout) == json.loads((path / folder.SWEEP).read_text())
    record = folder.read_sweep(path)
    assert record.complete
    assert [(row.slug, row.current) for row in record.settings] == [
        ("min_silence_ms-150", False),
        ("min_silence_ms-200", True),
    ]
    runs = [store.read_run(path / row.slug) for row in record.settings]
    assert [run.record.profile_data["endpointing"]["min_silence_ms"] for run in runs] == [150, 200]
    turns = [[turn for turn in run.turns if turn.scored] for run in runs]
    for pair in zip(*turns, strict=True):
        assert len({(turn.call, turn.utterance_id) for turn in pair}) == 1
        assert {turn.outcome for turn in pair} <= ON_A_BUSY_MACHINE
    first, second = ([turn.t0_ns for turn in pair] for pair in zip(*turns, strict=True))
    assert max(first) < min(second)
    calibrations = [run.record.instrument.calibration for run in runs]
    assert calibrations[0] == calibrations[1] is not None
    assert all(run.record.instrument.sentinel is not None for run in runs)
    assert all(run.record.agent.rss_mib for run in runs)
    assert all((path / row.slug / store.SPANS).read_text() for row in record.settings)
    assert [point.n_turns for point in record.points] == [2, 2]
    assert done.returncode == max(run.record.verdict.exit_code for run in runs)
    assert (tmp_path / "reports" / f"{path.name}.html").is_file()
    for command in (("report", str(path / "min_silence_ms-150")), ("report", str(path))):
        again = subprocess.run(turngap(*command), capture_output=True, text=True, check=False)
        assert again.returncode == 0
    # A complete sweep is not resumed.
    again = subprocess.run(turngap("sweep", "--resume", str(path)), capture_output=True, text=True, check=False)
    assert (again.returncode, "nothing to resume" in again.stderr) == (3, True)


def test_kill_9_loses_no_finished_turn_of_any_setting(tmp_path: Path) -> None:
    """No process is left, the report renders, and --resume makes only the missing calls."""
    results = tmp_path / "results"
    with running_session(
        "sweep", str(scenario_of_tones(tmp_path, 2)), *settings(tmp_path), "--out", str(results)
    ) as process:
        wait_for(process.stderr, "1/4")
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.kill()
        process.wait()
        assert all_ended(family)
    path = only_run(results)
    before = folder.read_sweep(path)
    kept = {
        (row.slug, turn.call): turn.call_sid
        for row in before.settings
        for turn in store.read_run(path / row.slug).turns
        if turn.scored
    }
    assert kept
    done = subprocess.run(turngap("report", str(path)), check=False)
    assert done.returncode == 0
    with running_session("sweep", "--resume", str(path)) as process:
        process.communicate(timeout=LONG_S)
    after = folder.read_sweep(path)
    assert after.complete
    for row in after.settings:
        run = store.read_run(path / row.slug)
        assert (run.record.complete, run.record.n_turns) == (True, 2)
        assert {(row.slug, turn.call): turn.call_sid for turn in run.turns if (row.slug, turn.call) in kept} == {
            key: sid for key, sid in kept.items() if key[0] == row.slug
        }


def test_ctrl_c_before_the_first_call_leaves_nothing(tmp_path: Path) -> None:
    """There is nothing to keep: one line, exit code 2, no folder, no process."""
    results = tmp_path / "results"
    with running_session(
        "sweep", str(scenario_of_tones(tmp_path, 1)), *settings(tmp_path), "--out", str(results)
    ) as process:
        wait_for(process.stderr, "calibrating")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("turngap: error: interrupted")
    assert all_ended(family)
    assert list(results.iterdir()) == []


def test_ctrl_c_keeps_finished_turns_and_says_how_to_go_on(tmp_path: Path) -> None:
    """One line with the command, exit code 2; finished turns are in the figures of an unfinished sweep."""
    results = tmp_path / "results"
    with running_session(
        "sweep", str(scenario_of_tones(tmp_path, 3)), *settings(tmp_path), "--out", str(results)
    ) as process:
        wait_for(process.stderr, "1/6")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 2
    path = only_run(results)
    (line,) = [each for each in err.splitlines() if each.startswith("turngap: error: ")]
    assert f"`turngap sweep --resume {path}`" in line
    record = folder.read_sweep(path)
    assert not record.complete
    assert 1 <= sum(point.n_turns for point in record.points) < 6


def test_a_single_setting_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    """One line at the start says so; the sweep continues."""
    arguments = (*SCRIPTED, "--set", "endpointing.min_silence_ms=150", "--out", str(tmp_path / "results"))
    with running_session("sweep", str(scenario_of_tones(tmp_path, 3)), *arguments) as process:
        wait_for(process.stderr, "nothing to compare")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONG_S)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a sweep needs settings"),
        (("--set", "endpointing.min_silense_ms=100,200"), "did you mean `min_silence_ms`"),
        (("--set", "endpointing.min_silence_ms=100,soon"), "--set 'endpointing.min_silence_ms=soon': "),
        (("--set", "endpointing.min_silence_ms=200,200.0"), "the same setting"),
        (("--set", "a.b=1", "--grid", "grid.yaml"), "give one of them"),
        (("--grid", "nowhere.yaml"), "no such file"),
        (("--resume", "results", "--turns", "3"), "give it alone"),
        (("--resume", "nowhere"), "no sweep folder"),
    ],
)
def test_conflicting_options_are_refused_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """One line on stderr, exit code 3, no folder."""
    monkeypatch.chdir(tmp_path)
    scenario = [] if "--resume" in arguments else [str(scenario_of_tones(tmp_path, 1)), "--profile", "scripted"]
    assert app.execute(["sweep", *scenario, *arguments]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "results").exists()


def test_more_than_one_call_at_once_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The agents that wait would not be idle."""
    scenario = scenario_of_tones(tmp_path, 2, simultaneous_calls=2)
    assert app.execute(["sweep", str(scenario), *settings(tmp_path)]) == 3
    assert "one call at a time" in capsys.readouterr().err


def test_an_interrupted_resumption_keeps_the_settings_that_were_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how to resume, not that nothing is kept; the folder is left."""
    planned = plan.plan_sweep(
        scenario_of_tones(tmp_path, 1),
        grid.combine_values(["stt.delay_ms=1,2"]),
        profile="scripted",
        options=Options(out=tmp_path),
    )
    request = plan.with_folder(planned, 0)
    path = request.path
    assert path is not None
    request.release_locks()
    first, second = (member.row.slug for member in request.members)
    report_builders.write_run(path / first, report_builders.turns(1))

    async def measure(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(session_runner, "_measure", measure)
    resumed = plan.plan_resumed_sweep(path)
    corpus = Corpus({}, (), resumed.members[0].request.scenario)

    async def run() -> str:
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await runner.run_sweep(
                resumed, corpus, ConsoleProgress(Console(quiet=True), ""), clock=SystemClock(), stop=asyncio.Event()
            )
        return str(cancelled.value)

    assert f"`turngap sweep --resume {path}`" in asyncio.run(run())
    assert [(path / slug).exists() for slug in (first, second)] == [True, False]
