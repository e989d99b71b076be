"""`turngap label`: the label that a scenario would take, what speaks against a recording, its picture and sound."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.cli import app
from turngap.corpus import audio_sources
from turngap.corpus.audio_sources import load_recording
from turngap.corpus.clips import make_clip
from turngap.corpus.recording_check import check_recording
from turngap.model.records import Clip, Pcm16

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
    label = json.loads(capsys.readouterr().out)
    assert abs(label["start_ms"] - 120) <= 1
    assert abs(label["end_ms"] - 1120) <= 1
    assert (label["firm"], label["usable"], label["remarks"], label["pauses_ms"]) == (True, True, [], [])
    assert app.execute(["label", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"speech     {label['start_ms']:.1f} to {label['end_ms']:.1f} ms, over " in text
    for level in ("threshold", "level"):
        assert f"{label[f'{level}_dbfs']:.0f} dBFS ({label[f'{level}_dbm0']:.0f} dBm0)" in text


def test_pauses_inside_are_listed(tmp_path: Path) -> None:
    """From 200 ms on, with their places: they are where an agent may cut in."""
    body = word(4000, 1)[960:4960]
    checked = check_recording(
        save(tmp_path / "p.wav", quiet(120), body, quiet(400), body, quiet(150), body, quiet(300))
    )
    ((start_ms, end_ms),) = checked.pauses
    assert abs(start_ms - 620) <= 10
    assert abs(end_ms - 1020) <= 10


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("fading", "a run leaves it out"),
        ("tailless", "leave silence after the speech"),
        ("headless", "leave silence before it"),
        ("clipped", "it is clipped"),
    ],
)
def test_reasons_against_a_recording_are_listed(
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
    [(None, "there is no file"), (quiet(900), "no speech in it")],
)
def test_a_file_that_is_no_recording_is_one_line(
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


@pytest.mark.parametrize(("option", "suffixes"), [("--plot", (".png", ".svg")), ("--listen", (".wav",))])
@pytest.mark.parametrize("output", ["none/x", ".", "x.nonsense", "l.mp3", "label.xyz", "plain"])
def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, option: str, suffixes: tuple[str, ...], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3 with option and path, before any work; a missing folder with the command that creates it."""
    path = save(tmp_path / "mine.wav", word(8000, 1))
    target = tmp_path / (f"{output}{suffixes[0]}" if output == "none/x" else output)
    facts = {"none/x": ("mkdir -p",), ".": ("is a folder",)}.get(output, suffixes)
    assert app.execute(["label", str(path), option, str(target)]) == 3
    out, error = capsys.readouterr()
    assert f"{option} {target}: " in error
    assert all(fact in error for fact in facts)
    assert (out, error.count("\n")) == ("", 1)
    assert not target.is_file()


def test_help_and_error_list_the_same_formats(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that can be read."""
    assert app.execute(["label", "--help"]) == 0
    assert audio_sources.READABLE in " ".join(capsys.readouterr().out.split())


@given(st.integers(2000, 12_000), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_sound_contains_the_whole_speech(tmp_path_factory: pytest.TempPathFactory, samples: int, seed: int) -> None:
    """What is kept, a second, and what is cut: together the recording from its first sample of speech on."""
    folder = tmp_path_factory.mktemp("label")
    path, out = save(folder / "mine.wav", word(samples, seed)), folder / "listen.wav"
    assert app.execute(["label", str(path), "--listen", str(out)]) == 0
    checked = check_recording(path)
    heard, _ = soundfile.read(out, dtype="int16")
    kept = checked.label.end_sample - checked.label.start_sample
    assert np.array_equal(heard[:kept], checked.pcm[checked.label.start_sample : checked.label.end_sample])
    assert not heard[kept : kept + 8000].any()
    assert np.array_equal(heard[kept + 8000 :], checked.pcm[checked.label.end_sample :])


def test_a_recording_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the picture nor the sound to check by may be the recording itself."""
    file = tmp_path / "mine.wav"
    file.write_bytes(b"precious")
    for option in ("--plot", "--listen"):
        assert app.execute(["label", str(file), option, str(tmp_path / "." / "mine.wav")]) == 3
        assert f"{option} {file}: that is the recording itself" in capsys.readouterr().err
    assert file.read_bytes() == b"precious"


@given(
    st.integers(0, 30_000), st.integers(0, 12_000), st.integers(2000, 9000), st.floats(200, 4000), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_label_and_run_give_one_answer(
    tmp_path_factory: pytest.TempPathFactory, head: int, tail: int, samples: int, fade: float, seed: int
) -> None:
    """However long the silence around it and however slow the fade: same start, end and moves, both firm or not."""
    body = word(samples, seed)[960:-1600]
    decay = body[-1500:] * 10 ** (-np.arange(1500) / fade)
    folder = tmp_path_factory.mktemp("label")
    path = save(
        folder / "yes.wav", quiet(0), np.zeros(head, np.int16), body, decay.astype(np.int16), np.zeros(tail, np.int16)
    )
    check = check_recording(path)
    clip = make_clip("yes", [load_recording(path)])
    assert isinstance(clip, Clip) is check.label.is_firm
    if isinstance(clip, Clip):
        assert (clip.label_low_ms, clip.label_high_ms) == (check.label.low_ms, check.label.high_ms)
        start, end = check.label.start_sample, check.label.end_sample
        assert np.array_equal(clip.pcm[clip.speech_start_sample :], check.pcm[start:end])
    else:
        assert f"{check.label.low_ms:+.0f} / {check.label.high_ms:+.0f} ms" in clip


def test_a_recording_with_long_silence_before_it_has_the_moves_that_a_run_has(tmp_path: Path) -> None:
    """Silence lowers the 95th percentile of the levels, and with it the threshold: a run cuts it before it labels."""
    body = word(2000, 1)[960:2960]
    fade = (word(4000, 2)[960:4960] * 10 ** (-np.arange(4000) / 900)).astype(np.int16)
    short, long = (
        check_recording(save(tmp_path / f"{ms}.wav", quiet(ms), body, fade, quiet(200))) for ms in (60, 9000)
    )
    assert short.end_ms - 60 == long.end_ms - 9000
    assert (short.label.low_ms, short.label.high_ms) == (long.label.low_ms, long.label.high_ms)


def test_several_recordings_are_labelled_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its result, in order; as JSON they are a list; one with a problem makes the exit code 1."""
    paths = [save(tmp_path / f"{n}.wav", word(8000, n)) for n in (1, 2)]
    assert app.execute(["label", *map(str, paths)]) == 0
    assert capsys.readouterr().out.count("usable") == 2
    cut = save(tmp_path / "cut.wav", word(8000, 3)[960:])
    assert app.execute(["label", *map(str, [*paths, cut]), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(each["file"], each["usable"]) for each in rows] == [
        (str(paths[0]), True),
        (str(paths[1]), True),
        (str(cut), False),
    ]


def test_one_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others' results are printed; then exit 3 with a line for each that has none."""
    good, missing = save(tmp_path / "good.wav", word(8000, 1)), tmp_path / "god.wav"
    silent = save(tmp_path / "silent.wav", quiet(900))
    assert app.execute(["label", str(missing), str(good), str(silent)]) == 3
    printed = capsys.readouterr()
    assert f"{good}: " in printed.out
    first, second = printed.err.splitlines()
    assert str(missing) in first
    assert "did you mean 'good.wav'?" in first
    assert str(silent) in second


@pytest.mark.parametrize("option", ["--plot", "--listen"])
def test_plot_and_sound_are_of_one_recording(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With several, the last would overwrite the others'."""
    paths = [save(tmp_path / f"{n}.wav", word(8000, n)) for n in (1, 2)]
    assert app.execute(["label", *map(str, paths), option, str(tmp_path / "x.png")]) == 3
    assert f"{option} " in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_folder_is_named_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3: that it is a folder, how many files it has, and the command that labels them."""
    save(tmp_path / "a.wav", word(8000, 1))
    assert app.execute(["label", str(tmp_path)]) == 3
    error = capsys.readouterr().err
    assert f"{tmp_path}: that is a folder with 1 file" in error
    assert f"turngap label {tmp_path}/*.wav" in error


@pytest.mark.parametrize(("name", "target"), [("my call.m4a", "my call.wav"), ("call.wav", "call-converted.wav")])
def test_an_unreadable_format_is_answered_with_the_command_that_converts_it(
    tmp_path: Path, name: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, the formats that can be read, and an ffmpeg command that a shell takes as it is."""
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x1cftypM4A " + bytes(100))
    assert app.execute(["label", str(path)]) == 3
    error = capsys.readouterr().err
    assert "FLAC" in error
    command = shlex.split(error.partition("to convert it: ")[2])
    assert command == ["ffmpeg", "-i", str(path), str(tmp_path / target)]
    assert error.count("\n") == 1
