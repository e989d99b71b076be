"""`turngap talk` as a user starts it: to a real agent over a real WebSocket from a file, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap.cli import app, talk
from turngap.model.turn import Outcome
from turngap.processes import child
from turngap.talk.call import INPUT_FINISHED, USER_HUNG_UP
from turngap_agent.errors import TurngapError
from turngap_agent.tracing import Stage
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_socket

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
    error = capfd.readouterr().err
    assert "error: no connection to ws://127.0.0.1:1/x: connection refused;" in error
    assert error.count("127.0.0.1") == 1


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
    ("outcomes", "code"), [((), "usage.audio"), ((Outcome.MISSED, Outcome.MISSED), "agent.no-answer")]
)
def test_an_agent_that_answers_nothing_is_an_error(outcomes: tuple[Outcome, ...], code: str) -> None:
    """A recording without speech, and turns without an answer, are no success."""
    turns = [builders.turn(index, outcome=outcome) for index, outcome in enumerate(outcomes)]
    with pytest.raises(TurngapError) as error:
        talk._check_answers(turns, INPUT_FINISHED, from_file=True)
    assert error.value.code == code


def test_one_answer_is_a_success() -> None:
    """However the call ended."""
    turns = [builders.turn(index, outcome=outcome) for index, outcome in enumerate((Outcome.MISSED, Outcome.ANSWERED))]
    for reason in (INPUT_FINISHED, USER_HUNG_UP, "the agent hung up: 1000"):
        talk._check_answers(turns, reason, from_file=True)


def test_a_person_who_hangs_up_without_a_word_is_no_error() -> None:
    """Nothing was asked of the agent."""
    talk._check_answers([], USER_HUNG_UP, from_file=False)


@contextmanager
def serve(on_call: Callable[[ServerConnection], object]) -> Iterator[str]:
    """The URL of an agent that reads `start` and then does `on_call`, which ends the call."""

    def handle(connection: ServerConnection) -> None:
        while json.loads(connection.recv())["event"] != "start":
            pass
        on_call(connection)

    with serve_socket(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
    thread.join()


def read_to_the_end(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def interrupt(connection: ServerConnection) -> None:
    """Press Ctrl-C in the middle of the call."""
    os.kill(os.getpid(), signal.SIGINT)
    read_to_the_end(connection)


@pytest.mark.parametrize(
    ("on_call", "silent", "code", "message"),
    [
        (read_to_the_end, True, 3, "no speech was found in the recording"),
        (interrupt, False, 2, "error: interrupted"),
        (lambda connection: connection.close(), False, 2, "the agent hung up"),
    ],
    ids=["silence", "interrupted", "agent-hung-up"],
)
def test_a_talk_without_an_answer_names_its_cause(
    on_call: Callable[[ServerConnection], object],
    silent: bool,
    code: int,
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The recording is blamed only if it was played to its end; `--json` prints the turns, none, in any case."""
    file = write_question(tmp_path)
    if silent:
        soundfile.write(file, np.zeros(24_000), 48_000)
    with serve(on_call) as url:
        arguments = ["talk", "--url", url, "--in", str(file), "--out", str(tmp_path / "o.wav"), "--json"]
        assert app.execute(arguments) == code
    captured = capfd.readouterr()
    assert json.loads(captured.out) == []
    (error_line,) = (line for line in captured.err.splitlines() if line.startswith("turngap: error: "))
    assert message in error_line


def test_an_interrupt_while_the_agent_starts_is_no_fault_of_the_recording(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, as for every interrupted command."""

    async def start(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(PATIENCE_S)

    monkeypatch.setattr(talk, "start_profile", start)
    arguments = ["--in", str(write_question(tmp_path)), "--out", str(tmp_path / "o.wav"), "--json"]
    assert app.execute(["talk", "--profile", "scripted", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.err.splitlines()[-1] == "turngap: error: interrupted"
    assert json.loads(captured.out) == []
