"""The main job, whole: human speech through the real engines over a real socket, measured, explained and reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from turngap.model.turn import TurnRecord
from turngap.store import folder as store
from turngap_agent.tracing import Stage

ROOT = Path(__file__).parent.parent
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.engines, pytest.mark.xdist_group("first-call")]


@dataclass
class Smoke:
    """One run of the smoke scenario."""

    exit_code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def turns(self) -> list[TurnRecord]:
        return [turn for turn in store.read_run(self.folder).turns if not turn.warm_up]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    out = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "turngap", "run", "smoke", "--out", str(out), "--json"]
    # Other tests share the cores: an answer that is late is none the less checked.
    command += ["--set", "deadlines.silence_ms=30000"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, check=False)
    folders = [path.parent for path in out.glob("*/run.json")]
    assert len(folders) == 1, done.stderr
    return Smoke(done.returncode, done.stdout, done.stderr, folders[0])


def test_every_turn_is_heard_and_understood(smoke: Smoke) -> None:
    """Three human utterances are transcribed and answered in words, after the caller was done.

    On a busy machine a turn is INVALID where our own caller was late, and BROKEN where the agent's next clause was:
    what was heard in it is checked all the same.
    """
    assert len(smoke.turns) == 3, smoke.stderr
    for turn in smoke.turns:
        assert turn.outcome in ("answered", "broken", "invalid"), turn.detail
        assert turn.t1_ns is not None
        assert turn.turn_gap_ms is not None
        assert turn.turn_gap_ms > 0
        assert turn.wer is not None
        assert turn.wer <= 0.34, (turn.reference, turn.transcript)
        assert turn.reply
        assert not turn.synthetic_caller


def test_every_gap_is_explained(smoke: Smoke) -> None:
    """Every stage of the agent is in every turn, and the exposed times add up to the gap."""
    for turn in smoke.turns:
        assert turn.stages is not None, turn.stages_note
        assert set(turn.stages) == set(Stage)
        assert sum(stage.exposed_ms for stage in turn.stages.values()) == pytest.approx(turn.turn_gap_ms, abs=0.01)
        assert turn.stages[Stage.TRANSCRIPTION].duration_ms > 0


def test_json_on_stdout_is_the_run(smoke: Smoke) -> None:
    """`--json` prints run.json alone, with the fields others build on."""
    printed: dict[str, Any] = json.loads(smoke.stdout)
    assert printed == json.loads((smoke.folder / "run.json").read_text("utf-8"))
    assert printed["complete"] is True
    assert printed["profile"] == "cpu"
    assert printed["n_turns"] == 3
    assert printed["instrument"]["calibration"]["delays"][0]["n"] == 10
    assert printed["agent"]["rss_mib"] > 100
    assert printed["gpus"] is None or printed["environment"]["gpu"]


def test_the_exit_code_is_the_verdicts(smoke: Smoke) -> None:
    """MEASURED exits 0; a machine too busy to measure on exits 2 and says so."""
    verdict = json.loads(smoke.stdout)["verdict"]
    assert (verdict, smoke.exit_code) in (("MEASURED", 0), ("INVALID", 2))
    if verdict == "INVALID":
        assert "lateness" in smoke.stderr or "own error" in smoke.stderr


def test_the_folder_is_whole(smoke: Smoke) -> None:
    """Turns, spans, the agent's log and profile, and the audio of the turns worth hearing are kept."""
    for name in ("run.json", "turns.jsonl", "spans.jsonl", "agent.log"):
        assert (smoke.folder / name).is_file(), name
    kept = [turn.audio for turn in smoke.turns if turn.audio]
    assert kept
    assert all((smoke.folder / name).stat().st_size > 10_000 for name in kept)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium (Debian package chromium)")
def test_the_report_opens_in_a_browser(smoke: Smoke) -> None:
    """The page shows the verdict, plays audio and says nothing on the console."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto((smoke.folder / "report.html").as_uri())
        assert messages == []
        assert page.locator("audio").count() > 0
        assert page.locator("svg[role=img]").count() > 0
        browser.close()
