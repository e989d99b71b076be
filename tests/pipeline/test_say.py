"""`say`: a WAV file whole or not at all, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from turngap_agent import say
from turngap_agent.errors import UsageError

pytest.importorskip("hibari")


def run(*arguments: str) -> int:
    option, out, *words = arguments
    assert option == "--out"
    return say.run(" ".join(words), Path(out))


def test_words_become_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """24 kHz, 16 bit, mono, and nothing else left in the folder."""
    out = tmp_path / "hello.wav"
    assert run("--out", str(out), "Hello", "there.") == 0
    info = soundfile.info(out)
    assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
    assert 0.3 < info.duration < 2
    assert list(tmp_path.iterdir()) == [out]
    assert str(out) in capsys.readouterr().out


def test_the_speech_has_silence_around_it(tmp_path: Path) -> None:
    """0.3 s before and 0.6 s after, so that where it ends is certain; the bare speech on request."""
    padded, bare = tmp_path / "padded.wav", tmp_path / "bare.wav"
    assert say.run("a large one please", padded) == 0
    assert say.run("a large one please", bare, speech_only=True) == 0
    samples, speech = (soundfile.read(path, dtype="int16")[0] for path in (padded, bare))
    head, tail = 7200, 14_400
    assert len(samples) == head + len(speech) + tail
    assert not samples[:head].any()
    assert not samples[-tail:].any()
    assert (samples[head:-tail] == speech).all()


def test_nothing_to_say_is_refused(tmp_path: Path) -> None:
    """Marks alone are no words."""
    with pytest.raises(UsageError, match="has no words"):
        run("--out", str(tmp_path / "x.wav"), "...")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """One line with the path, and nothing half-written."""
    with pytest.raises(UsageError, match=r"missing.x\.wav cannot be written"):
        run("--out", str(tmp_path / "missing" / "x.wav"), "Hello")
