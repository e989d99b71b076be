"""`turngap talk` as a user starts it: to a real agent over a real WebSocket from a file, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap.cli import app, talk
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes import child
from turngap_agent.tracing import Stage

from tests.harness import report_builders as builders
from tests.harness.talk.test_turn_detection import speech

PATIENCE_S = 180
PATIENT = "import sys; from turngap.cli import app, talk; talk.SPANS_TRIES = 300; sys.exit(app.execute(sys.argv[1:]))"
"""turngap, but a turn's spans are waited for as long as a busy machine may need."""


def write_question(folder: Path) -> Path:
    """Half a second of a quiet room, a tone that the scripted agent takes for speech, a room again; 48 kHz."""
    file = folder / "in.wav"
    soundfile.write(file, np.repeat(speech(500, 900, 300, -60), 6), 48_000)
    return file


def turngap(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", PATIENT, "talk", *arguments],
        env=dict(os.environ) | {"TWILIO_AUTH_TOKEN": "secret"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_file_is_played_to_the_agent_and_its_answer_written(tmp_path: Path) -> None:
    """One turn: gap and stages on the terminal, the whole of it as JSON, the agent's voice in the other file."""
    out = tmp_path / "out.wav"
    done = turngap("--profile", "scripted", "--in", str(write_question(tmp_path)), "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads(done.stdout)
    assert turn["turn_gap_ms"] > 200  # its endpointing alone
    assert turn["transcript"] == "scripted words"
    # How long each was waited for is the machine's: a device that was held up hands over its blocks in a burst.
    assert turn["stages"] is not None, turn["stages_note"]
    assert set(turn["stages"]) == {str(stage) for stage in Stage}
    assert "turn 1: the agent answered after" in done.stderr
    assert "end of your speech estimated" in done.stderr
    assert "exposed time: " in done.stderr
    assert "talk: connected to ws://" in done.stderr
    played, rate = soundfile.read(out)
    assert rate == 48_000
    assert (np.abs(played) > 0.01).sum() > 0.3 * rate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--url", "http://x"), "expected ws://"),
        (("--url", "ws://127.0.0.1:1/x", "--profile", "cpu"), "drop --profile and --set"),
        (("--in", "a.wav"), "--in and --out go together"),
        (("--in", "a.wav", "--out", "b.wav", "--input-device", "1"), "drop --input-device"),
        (("--in", "nowhere.wav", "--out", "b.wav"), "there is no file nowhere.wav"),
        (("--profile", "nope"), "no profile 'nope'"),
    ],
)
def test_conflicting_options_are_one_line_before_anything_starts(
    arguments: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3."""
    assert app.execute(["talk", *arguments]) == 3
    error_line = capfd.readouterr().err.strip()
    assert message in error_line
    assert len(error_line.splitlines()) == 1


def test_an_unreachable_agent_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: what was given may be right."""
    arguments = [
        "talk",
        "--url",
        "ws://127.0.0.1:1/x",
        "--in",
        str(write_question(tmp_path)),
        "--out",
        str(tmp_path / "o.wav"),
    ]
    assert app.execute(arguments) == 2
    assert "error: no connection to ws://127.0.0.1:1/x" in capfd.readouterr().err


def test_a_machine_without_sound_gets_one_clear_line(tmp_path: Path) -> None:
    """No PortAudio library: exit code 3, and what to do instead."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for arguments in ([], ["--list-devices"]):
        done = subprocess.run(
            child.python_command("turngap", "talk", *arguments),
            env=dict(os.environ) | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 3
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert "no PortAudio library; install it" in done.stderr


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [((), 3), ((Outcome.MISSED, Outcome.MISSED), 2), ((Outcome.MISSED, Outcome.ANSWERED), 0)],
)
def test_an_agent_that_answers_nothing_is_an_error(
    outcomes: tuple[Outcome, ...],
    code: int,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recording without speech, and turns without an answer, are no success; one answer is."""

    async def call(*_: object, **__: object) -> list[TurnRecord]:
        return [builders.turn(index, outcome=outcome) for index, outcome in enumerate(outcomes)]

    monkeypatch.setattr(talk, "_talk", call)
    arguments = ["--in", str(write_question(tmp_path)), "--out", str(tmp_path / "o.wav"), "--json"]
    assert app.execute(["talk", "--url", "ws://127.0.0.1:1/x", *arguments]) == code
    captured = capfd.readouterr()
    assert len(json.loads(captured.out)) == len(outcomes)
    assert ("answered none of 2 turns" in captured.err) == (code == 2)
