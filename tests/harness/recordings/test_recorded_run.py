"""A run from recordings: its folder, its report and exports, and what is said of files that can't be scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import turngap
from turngap.cli import app
from turngap.model.result import Verdict
from turngap.model.turn import Outcome
from turngap.recordings.run import RECORDINGS

from tests.harness.recordings.dialogues import AGENT, LENGTH_MS, make_call, make_dialogue, write_dialogue


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three calls, a mono file, one with swapped channels and one that is no audio."""
    calls = tmp_path / "calls"
    calls.mkdir()
    for seed in (1, 2):
        write_dialogue(calls / f"call-{seed}.wav", make_call(seed=seed))
    slow = [(start_ms + 400, end_ms + 400) for start_ms, end_ms in AGENT[1:]]
    write_dialogue(
        calls / "slow.flac", make_dialogue([(2500, 4000), (7200, 8500)], [AGENT[0], *slow], LENGTH_MS, seed=3)
    )
    write_dialogue(calls / "mono.wav", make_call()[:, 0])
    write_dialogue(calls / "swapped.wav", make_call()[:, ::-1])
    (calls / "broken.mp3").write_bytes(b"no audio")
    (calls / "notes.txt").write_text("not a recording")
    return calls


def execute(*arguments: str | Path) -> int:
    return app.execute([str(argument) for argument in arguments])


def test_a_folder_of_calls_is_one_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gaps within 10 ms of those that were made; what can't be scored is named in the record and on stderr."""
    assert execute("recording", folder, "--out", tmp_path / "results", "--json") == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    (path,) = (tmp_path / "results").iterdir()
    run = turngap.load(path)
    assert run.verdict is Verdict.MEASURED
    assert document["run_id"] == run.id == path.name
    gaps = {turn.utterance_id: turn.turn_gap_ms for turn in run.turn_records}
    expected = {
        "call-1-01": 600,
        "call-1-02": 800,
        "call-2-01": 600,
        "call-2-02": 800,
        "slow-01": 1000,
        "slow-02": 1200,
    }
    assert gaps == pytest.approx(expected, abs=10)
    assert all(turn.stages is None and turn.outcome is Outcome.ANSWERED for turn in run.turn_records)
    check = next(check for check in run.record.validity if check.name == "recordings")
    assert check.warning
    assert check.text.startswith("3 of 6 recordings scored")
    for name in ("mono.wav", "swapped.wav", "broken.mp3"):
        assert name in check.text
        assert name in printed.err
    lines = [json.loads(line) for line in (path / RECORDINGS).read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["call-1.wav", "call-2.wav", "slow.flac", "swapped.wav"]
    assert [entry["kind"] for entry in lines[0]["talk"]] == ["opens", "gap", "gap", "gap", "gap"]
    assert document["recording"]["calls"] == lines
    assert run.record.recording is not None
    assert run.record.recording.calls[0].talk == ()


def test_the_folder_is_that_of_any_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`report`, `compare` and the exports work on it, and no stage is shown."""
    for name in ("one", "two"):
        assert execute("recording", folder / "call-1.wav", folder / "slow.flac", "--out", tmp_path / name) == 0
    one, two = (next((tmp_path / name).iterdir()) for name in ("one", "two"))
    capsys.readouterr()
    assert execute("report", one, "--out", tmp_path / "again.html", "--baseline", two) == 0
    page = (tmp_path / "again.html").read_text("utf-8")
    assert "The recordings" in page
    assert "ends of speech are found, not known" in page
    for absent in ("Where the time went", "Each stage", "GPU memory", "Word error rate", "Filler and substance"):
        assert absent not in page
    assert page.count("<audio") >= 2
    assert execute("compare", one, two, "--json") == 0
    assert turngap.load(one).turns["turn_gap_ms"].notna().all()
    assert turngap.load(one).stages.empty
    excerpts = [turn.audio for turn in turngap.load(one).turn_records if turn.audio]
    assert excerpts
    assert all((one / excerpt).is_file() for excerpt in excerpts)


def test_nothing_to_score_is_a_line_for_each(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and no folder is made."""
    names = [folder / name for name in ("mono.wav", "swapped.wav", "broken.mp3")]
    assert execute("recording", *names, "--out", tmp_path / "results") == 3
    printed = capsys.readouterr().err
    for name, reason in (("mono.wav", "mono"), ("swapped.wav", "swapped?"), ("broken.mp3", "cannot be read")):
        assert any(name in line and reason in line for line in printed.splitlines())
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.wav"], "no such file"),
        ([], "give recordings"),
        (["call-1.wav", "--caller", "middle"], "there are: left, right"),
        (["--caller-file", "mono.wav"], "go together"),
        (["call-1.wav", "call-2.wav", "--labels", "notes.txt"], "one file, for 2 recordings"),
        (["call-1.wav", "--labels", "missing.txt"], "no such file"),
        (["call-1.wav", "--budget", "nonsense"], "nonsense"),
        (["call-1.wav", "--out", "call-2.wav"], "call-2.wav"),
    ],
)
def test_wrong_arguments_are_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    """With exit code 3."""
    monkeypatch.chdir(folder)
    assert execute("recording", *arguments) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert expected in line


def test_a_recording_counts_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given twice, as a file and in its folder, it is refused: its turns would count twice in every bound."""
    one = next(folder.glob("*.wav"))
    assert execute("recording", one, folder, "--out", tmp_path / "out") == 3
    assert "given twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_files_are_one_call(tmp_path: Path) -> None:
    """As a pair with a plus sign, or by the two options; which is which is known, so who greets is no matter."""
    sound = make_call()
    caller, agent = (
        write_dialogue(tmp_path / f"{name}.wav", sound[:, at : at + 1]) for at, name in enumerate(("a", "b"))
    )
    run = turngap.measure_recordings(f"{caller}+{agent}", out=tmp_path / "pair")
    assert [turn.turn_gap_ms for turn in run.turn_records] == pytest.approx([600, 800], abs=10)
    options = ("--caller-file", caller, "--agent-file", agent, "--at-ear", "--out", tmp_path / "options")
    assert execute("recording", *options) == 0
    record = turngap.load(next((tmp_path / "options").iterdir())).record
    assert record.recording is not None
    assert record.recording.calls[0].side_from == "files"
    assert record.telephone is None
    assert record.perceived_gap_ms == record.turn_gap_ms


def test_a_budget_is_judged_as_far_as_a_recording_goes(folder: Path, tmp_path: Path) -> None:
    """Two turns a call and too few of them: no verdict, with figures and reasons; the exit code is 2."""
    code = execute("recording", folder / "call-1.wav", "--budget", "edge500", "--out", tmp_path / "results")
    record = turngap.load(next((tmp_path / "results").iterdir())).record
    assert (code, record.verdict) == (2, Verdict.INVALID)
    assert record.intervals is not None
    assert any("not known from a recording" in reason for reason in record.reasons)


def test_labels_replace_what_is_found(folder: Path, tmp_path: Path) -> None:
    """From a file, or from a folder with one for each recording; the run says that ends are by hand."""
    labels = tmp_path / "labels"
    labels.mkdir()
    rows = [("2.5", "4.0", "caller"), ("0.5", "2.0", "agent"), ("4.61", "6.5", "agent")]
    text = "".join(f"{start}\t{end}\t{name}\n" for start, end, name in rows)
    (labels / "call-1.txt").write_text(text, "utf-8")
    run = turngap.measure_recordings(folder / "call-1.wav", labels=labels, out=tmp_path / "results")
    assert [turn.turn_gap_ms for turn in run.turn_records] == pytest.approx([610])
    assert "label files" in run.record.sentence


def test_a_silent_call_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the error alone."""
    write_dialogue(tmp_path / "silent.wav", np.zeros((32_000, 2)))
    assert execute("recording", tmp_path / "silent.wav", "--out", tmp_path / "results") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "silent.wav: no speech on" in line


def test_samples_that_are_no_numbers_have_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As damaged files do."""
    sound = np.zeros((32_000, 2), np.float32)
    sound[9000] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 16_000, subtype="FLOAT")
    assert execute("recording", tmp_path / "nan.wav", "--out", tmp_path / "results") == 3
    assert "nan or infinite; export it again" in capsys.readouterr().err


def test_label_files_that_are_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with `a.txt` beside `a.wav`: it may hold the labels, and counts with `--labels` alone."""
    (tmp_path / "calls").mkdir()
    write_dialogue(tmp_path / "calls" / "a.wav", make_call())
    (tmp_path / "calls" / "a.txt").write_text("1.0\t2.0\tspeech\n")
    assert execute("recording", tmp_path / "calls", "--out", tmp_path / "results") == 0
    assert f"a.txt: not read, though it may be the labels of a recording; with --labels {tmp_path}" in (
        capsys.readouterr().err.replace("\n", "")
    )
