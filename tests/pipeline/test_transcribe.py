"""The recogniser that the instrument starts after its calls: words with times, and no words in sounds."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from turngap_agent import weights
from turngap_agent.stt import AudioF32
from turngap_agent.transcribe import MODEL, Transcriber

X = np.arange(16_000) / 8000
WAVER = 1 + 0.3 * np.sin(8 * np.pi * X)
RNG = np.random.default_rng(1)
SOUNDS = {
    "tone": 0.25 * np.sin(2 * np.pi * 1000 * X),
    "beep": np.pad(0.25 * np.sin(2 * np.pi * 1000 * X[:960]), (0, 12_000)),
    "hum": 0.05 * np.sin(2 * np.pi * 50 * X) + 0.03 * np.sin(2 * np.pi * 150 * X),
    "noise": RNG.normal(0, 0.05, 16_000),
    "loud noise": RNG.normal(0, 0.2, 16_000),
    "chord": np.sum(
        [0.1 * np.sin(2 * np.pi * hz * X) * (1 + 0.3 * np.sin(8 * np.pi * X)) for hz in (262, 330, 392)], 0
    ),
    "modulated": 0.3 * np.sin(2 * np.pi * 180 * X) * (0.5 + 0.5 * np.sin(8 * np.pi * X)),
    "silence": np.zeros(16_000),
}


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    pytest.importorskip("faster_whisper")
    if not next(status for status in weights.list_all() if status.pin.name == MODEL).cached:
        pytest.skip(f"needs the weights {MODEL}")
    return Transcriber()


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_have_no_words(transcriber: Transcriber, name: str) -> None:
    """Whisper alone hears "you" or "thank you" in some of them."""
    audio: AudioF32 = np.asarray(SOUNDS[name], np.float32)
    heard = transcriber.listen(audio)
    assert heard["words"] == []
    assert name == "modulated" or heard["voice"] == []  # that one has the rhythm of syllables


def test_a_recording_is_answered_line_by_line(transcriber: Transcriber, tmp_path: Path) -> None:
    """One line for each request, an unreadable file included."""
    path = tmp_path / "call.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(np.zeros((8000, 2), "<i2").tobytes())
    requests = [{"wav": str(file), "channel": 1, "start_s": 0.2, "end_s": 0.9} for file in (path, tmp_path / "no.wav")]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [sys.executable, "-P", "-m", "turngap_agent.transcribe"]
    result = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
    hello, first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert hello == {"event": "ready", "model": MODEL}
    assert first == {"words": [], "voice": []}
    assert "no.wav" in second["error"]


def test_weights_that_were_not_fetched_are_an_answer(tmp_path: Path) -> None:
    """The first line says what to do; nothing is fetched."""
    pytest.importorskip("faster_whisper")
    command = [sys.executable, "-P", "-m", "turngap_agent.transcribe"]
    environment = {"TURNGAP_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=120, check=True, env=environment)
    hello = json.loads(result.stdout)
    assert hello["code"] == "failed"
    assert "turngap weights pull whisper-tiny.en" in hello["error"]
    assert not list(tmp_path.rglob("*.bin"))
