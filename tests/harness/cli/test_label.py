"""`turngap label`: the label that a scenario would take, what speaks against a recording, its picture and sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.cli import app
from turngap.corpus.recording_check import inspect
from turngap.model.records import Pcm16

from tests.harness.corpus.test_concatenation import word


def save(path: Path, *parts: Pcm16) -> Path:
    soundfile.write(path, np.concatenate(parts), 8000)
    return path


def quiet(ms: int) -> Pcm16:
    return np.zeros(ms * 8, np.int16)


def test_a_firm_recording_is_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Start, end and moves as they are; exit 0; the same in words and as JSON."""
    path = save(tmp_path / "mine.wav", word(8000, 1))
    assert app.execute(["label", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert abs(found["start_ms"] - 120) <= 10
    assert abs(found["end_ms"] - 1120) <= 10
    assert (found["firm"], found["usable"], found["remarks"], found["pauses_ms"]) == (True, True, [], [])
    assert app.execute(["label", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"speech     {found['start_ms']:.0f} to {found['end_ms']:.0f} ms" in said


def test_pauses_inside_are_told(tmp_path: Path) -> None:
    """From 200 ms on, with their places: they are where an agent may cut in."""
    body = word(4000, 1)[960:4960]
    found = inspect(save(tmp_path / "p.wav", quiet(120), body, quiet(400), body, quiet(150), body, quiet(300)))
    ((start_ms, end_ms),) = found.pauses
    assert abs(start_ms - 620) <= 10
    assert abs(end_ms - 1020) <= 10


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("fading", "a scenario leaves it out"),
        ("tailless", "leave silence after the speech"),
        ("headless", "leave silence before the speech"),
        ("clipped", "it is clipped"),
    ],
)
def test_what_speaks_against_it_is_said(
    tmp_path: Path, name: str, remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each with what to do, and exit 1."""
    body = word(8000, 1)[960:8960].astype(float)
    pcm = {
        "fading": body * 10 ** (-np.arange(8000) / 3000),
        "tailless": body,
        "headless": body,
        "clipped": (body * 30).clip(-32_768, 32_767),
    }[name].astype(np.int16)
    head, tail = (quiet(0 if name == "headless" else 150), quiet(0 if name == "tailless" else 300))
    assert app.execute(["label", str(save(tmp_path / "x.wav", head, pcm, tail))]) == 1
    assert remark in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (quiet(900), "no speech in it")],
)
def test_what_is_no_recording_is_one_line(
    tmp_path: Path, content: Pcm16 | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, the file and what is wrong."""
    path = tmp_path / "x.wav"
    if content is not None:
        save(path, content)
    assert app.execute(["label", str(path)]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert error.count("\n") == 1


def test_less_than_telephone_band_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording at 6 kHz lacks what a telephone carries: brought to 8 kHz it would look as if it were whole."""
    path = tmp_path / "dull.wav"
    soundfile.write(path, word(6000, 1), 6000)
    assert app.execute(["label", str(path)]) == 3
    assert "6000 Hz is less than a telephone carries; record at 8000 Hz or more" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_drawn(tmp_path: Path, suffix: str) -> None:
    """A file of its kind, with something in it."""
    path = save(tmp_path / "mine.wav", word(8000, 1))
    out = tmp_path / f"mine.{suffix}"
    assert app.execute(["label", str(path), "--plot", str(out)]) == 0
    head = out.read_bytes()[:200]
    assert b"PNG" in head if suffix == "png" else b"<svg" in head or b"<?xml" in head
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--plot", "--listen"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3 with the path."""
    path = save(tmp_path / "mine.wav", word(8000, 1))
    assert app.execute(["label", str(path), option, str(tmp_path / "none" / "x.png")]) == 3
    assert "cannot be written" in capsys.readouterr().err


@given(st.integers(2000, 12_000), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_sound_holds_all_that_was_said(tmp_path_factory: pytest.TempPathFactory, samples: int, seed: int) -> None:
    """What is kept, a second, and what is cut: together the recording from its first sample of speech on."""
    folder = tmp_path_factory.mktemp("label")
    path, out = save(folder / "mine.wav", word(samples, seed)), folder / "listen.wav"
    assert app.execute(["label", str(path), "--listen", str(out)]) == 0
    found = inspect(path)
    heard, _ = soundfile.read(out, dtype="int16")
    kept = found.label.end_sample - found.label.start_sample
    assert np.array_equal(heard[:kept], found.pcm[found.label.start_sample : found.label.end_sample])
    assert not heard[kept : kept + 8000].any()
    assert np.array_equal(heard[kept + 8000 :], found.pcm[found.label.end_sample :])


def test_a_recording_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the picture nor the sound to check by may be the recording itself."""
    file = tmp_path / "mine.wav"
    file.write_bytes(b"precious")
    for option in ("--plot", "--listen"):
        assert app.execute(["label", str(file), option, str(tmp_path / "." / "mine.wav")]) == 3
        assert f"{option} {file}: that is the recording itself" in capsys.readouterr().err
    assert file.read_bytes() == b"precious"
