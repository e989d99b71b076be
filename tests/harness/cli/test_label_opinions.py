"""`turngap label` on recordings with noise: labels by hand, by the floor and by words, and what it says to write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from turngap.annotations import read_annotations
from turngap.cli import app
from turngap.corpus import label_opinions

from tests.harness.corpus.test_concatenation import word
from tests.harness.corpus.test_hand_labels import make_noisy


def save(path: Path, tail_ms: int = 600) -> Path:
    soundfile.write(path, make_noisy(tail_ms), 8000)
    return path


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the recogniser by one that hears a word which ends at the first time in the list, ms."""
    ends: list[float] = []

    def transcribe(requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        for request in requests:
            pcm, rate = soundfile.read(request["wav"])
            assert (rate, len(pcm) / rate) == (8000, request["end_s"])
        if not ends:
            return [], "it is not installed: pip install"
        return [{"words": [{"text": "there.", "start_ms": 900.0, "end_ms": ends[0]}]} for _ in requests], ""

    monkeypatch.setattr(label_opinions, "transcribe_pieces", transcribe)
    return ends


def test_a_label_file_makes_a_noisy_recording_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The label is the person's, with its uncertainty; the floor's stands beside it."""
    path = save(tmp_path / "noisy.wav", tail_ms=0)
    assert app.execute(["label", str(path)]) == 1
    assert "not sure" in capsys.readouterr().out
    (tmp_path / "noisy.txt").write_text("0.500000\t1.000000\tspeech\n1.250000\t1.990000\tspeech\n")
    assert app.execute(["label", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"speech     500.0 to 1990.0 ms, by hand, in {tmp_path / 'noisy.txt'}" in text
    assert "end        is uncertain by +50 / -50 ms" in text
    assert "pause      1000 to 1250 ms" in text
    assert "floor      relative to it " in text


def test_a_noisy_recording_is_labelled_by_its_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The threshold alone would say that sound goes on to the end."""
    path = save(tmp_path / "noisy.wav")
    assert app.execute(["label", str(path), "--json"]) == 0
    label = json.loads(capsys.readouterr().out)
    assert (label["source"], label["usable"], label["floor"]["sure"]) == ("floor", True, True)
    assert abs(label["end_ms"] - 2000) <= 110
    assert label["low_ms"] >= 20


@pytest.mark.parametrize(("heard_ms", "decides"), [(2030.0, False), (2300.0, True), (1700.0, True)])
def test_words_that_end_elsewhere_are_for_a_person_to_decide(
    tmp_path: Path, hears: list[float], heard_ms: float, decides: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 40 ms on both are shown, with the line to write for each; under it there is nothing to decide."""
    soundfile.write(path := tmp_path / "clean.wav", np.concatenate([word(8000, 1), np.zeros(8000, np.int16)]), 8000)
    hears.append(heard_ms - 880)  # the word ends at 1120 ms
    assert app.execute(["label", str(path), "--align"]) == 0
    text = capsys.readouterr().out
    assert "words      the last one of" in text
    assert ("decide     label and words differ by" in text) is decides
    if decides:
        assert "speech_ms: [120, 1120]  # by level" in text
        assert f"speech_ms: [120, {heard_ms - 880:.0f}]  # by the words" in text


def test_a_missing_recogniser_says_what_to_install(
    tmp_path: Path, hears: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The label needs none: it is printed all the same."""
    assert hears == []
    path = save(tmp_path / "noisy.wav")
    assert app.execute(["label", str(path), "--align"]) == 0
    assert "words      none heard: it is not installed: pip install" in capsys.readouterr().out


def test_labels_are_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an Audacity track that is read as it was meant; a file that is there is never replaced."""
    path = save(tmp_path / "noisy.wav")
    assert app.execute(["label", str(path), "--write-labels", "--json"]) == 0
    label = json.loads(capsys.readouterr().out)
    written = read_annotations(tmp_path / "noisy.txt")
    assert (written.speech[0].start_ms, written.speech[-1].end_ms) == (label["start_ms"], label["end_ms"])
    before = (tmp_path / "noisy.txt").read_bytes()
    assert app.execute(["label", str(path), "--write-labels"]) == 3
    assert "noisy.txt is there already; move it away first" in capsys.readouterr().err
    assert (tmp_path / "noisy.txt").read_bytes() == before


def test_the_table_against_labels_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a recording with the difference, and a sum; one without a label file is left out."""
    paths = [save(tmp_path / f"{name}.wav", tail) for name, tail in (("long", 600), ("short", 0), ("bare", 600))]
    for name in ("long", "short"):
        (tmp_path / f"{name}.txt").write_text("0.5\t2.0\tspeech\n")
    assert app.execute(["label", *map(str, paths), "--against-labels", "--json"]) == 0
    floors = [row["floor"]["end_ms"] for row in json.loads(capsys.readouterr().out)]
    assert app.execute(["label", *map(str, paths), "--against-labels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:4] == ["long.wav", "600", "2000", f"{floors[0] - 2000:+.0f}"]
    right = abs(floors[0] - 2000) <= 60
    assert lines[3].startswith(f"with 100 ms and more after the speech: {int(right)} of 1 within 60 ms; 1 sure")
    assert lines[3].endswith("with less: 1 of 1 not sure")


def test_the_floor_is_not_sure_where_the_threshold_that_counts_is_not_firm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A voice that fades over a low floor: the floor's end may look sure, but sound goes on under both labels."""
    fading = word(8000, 1)[-4000:] * 10 ** (-np.arange(4000) / 4000 * 3)
    pcm = np.concatenate([np.zeros(4000), word(8000, 1), fading.repeat(2), np.zeros(4000)]).astype(np.int16)
    soundfile.write(path := tmp_path / "fading.wav", pcm, 8000)
    assert app.execute(["label", str(path), "--json"]) == 1
    label = json.loads(capsys.readouterr().out)
    assert (label["source"], label["firm"], label["floor"]["sure"]) == ("threshold", False, False)
    (tmp_path / "fading.txt").write_text("0.5\t1.9\tspeech\n")
    assert app.execute(["label", str(path), "--against-labels"]) == 0
    assert "0 sure" in capsys.readouterr().out


def test_a_table_without_any_label_by_hand_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, with the file that is missing."""
    path = save(tmp_path / "noisy.wav")
    assert app.execute(["label", str(path), "--against-labels"]) == 3
    assert f"such as {tmp_path / 'noisy.txt'}" in capsys.readouterr().err


def test_the_plot_shows_all_labels(tmp_path: Path, hears: list[float]) -> None:
    """The one that is taken, the floor's and the words', in words that an SVG keeps."""
    import matplotlib

    path = save(tmp_path / "noisy.wav")
    (tmp_path / "noisy.txt").write_text("0.5\t1.9\tspeech\n")
    hears.append(2210.0)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert app.execute(["label", str(path), "--align", "--plot", str(tmp_path / "all.svg")]) == 0
    drawn = (tmp_path / "all.svg").read_text("utf-8")
    for text in ("end of speech by hand, 1900.0 ms", "by the noise floor", "last word of the recogniser, 2210 ms"):
        assert text in drawn


def test_where_the_level_is_not_usable_the_floors_end_is_a_choice(
    tmp_path: Path, hears: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the level's and the words': all three lines to write are printed."""
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 1e-4, 24_000)
    sound[4000:23_800] += rng.normal(0, 0.1, 19_800)  # up to 25 ms before the end of the file
    soundfile.write(tmp_path / "cut.wav", sound, 8000)
    hears.append(2210.0)
    assert app.execute(["label", str(tmp_path / "cut.wav"), "--align"]) == 1
    printed = capsys.readouterr().out
    for how in ("# by level", "# by the floor", "# by the words"):
        assert how in printed
