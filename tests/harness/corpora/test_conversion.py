"""Label files and recordings become a corpus: turns, pauses inside, words, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turngap.annotations import Stretch, TimedWord, order_annotations
from turngap.cli.app import execute
from turngap.corpora.conversion import ConversionSettings, make_rows
from turngap.corpora.opening import open_corpus
from turngap_agent.errors import ScenarioError, UsageError

from tests.harness.corpora.small_corpus import GAP_MS, PAUSE_MS, SPEECH_MS, TURN_MS, write_corpus


def test_short_gaps_are_pauses_and_long_ones_end_a_turn() -> None:
    """Of each speaker on its own."""
    annotations = order_annotations(
        [
            Stretch(100, 500, "my", "A"),
            Stretch(600, 900, "number", "A"),
            Stretch(1200, 2000, "is", "A"),
            Stretch(5000, 5500, "four", "A"),
            Stretch(700, 800, "mm", "B", 1),
        ]
    )
    rows = make_rows("talk.wav", annotations, ConversionSettings(turn_gap_ms=1000, uncertainty_ms=20, channel=3))
    assert [(row.id, row.speaker, row.channel, row.start_ms, row.end_ms, row.pauses_ms, row.text) for row in rows] == [
        ("talk-001", "A", 3, 100, 2000, ((900, 1200),), "my number is"),
        ("talk-002", "B", 1, 700, 800, (), "mm"),
        ("talk-003", "A", 3, 5000, 5500, (), "four"),
    ]
    assert {row.uncertainty_ms for row in rows} == {20}
    assert {row.label_source for row in rows} == {"hand"}
    settings = ConversionSettings(label_source="aligned", separate_speakers=True)
    assert {(row.speaker, row.label_source) for row in make_rows("talk.wav", annotations, settings)} == {
        ("talk:A", "aligned"),
        ("talk:B", "aligned"),
    }
    only = make_rows("talk.wav", annotations, ConversionSettings(speaker="B"))
    assert [row.id for row in only] == ["talk-001"]


def test_words_go_to_the_turn_that_they_are_in() -> None:
    """And replace its text."""
    words = [TimedWord("one", 100, 300), TimedWord("two", 4000, 4200)]
    annotations = order_annotations([Stretch(100, 400, "x"), Stretch(4000, 4300, "y")], words)
    rows = make_rows("a.wav", annotations, ConversionSettings())
    assert [(row.transcript, len(row.words)) for row in rows] == [("one", 1), ("two", 1)]


def write_labels(path: Path, turns: int = 3) -> None:
    lines = []
    for index in range(turns):
        start = GAP_MS + index * (TURN_MS + GAP_MS)
        begins = (start, start + SPEECH_MS + PAUSE_MS)
        lines += [f"{begin / 1000:f}\t{(begin + SPEECH_MS) / 1000:f}\tspeech\n" for begin in begins]
    path.write_text("".join(lines))


def test_the_command_makes_a_corpus_that_passes_its_own_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The labels beside the recording, and the turns with the silences between them."""
    write_corpus(tmp_path)
    write_labels(tmp_path / "talk.txt")
    out = tmp_path / "out"
    command = ["corpus", "convert", str(tmp_path / "talk.flac"), "--out", str(out), "--turn-gap-ms", "600"]
    assert execute([*command, "--licence", "CC0-1.0", "--source", "a voice"]) == 0
    assert capsys.readouterr().out == f"{out / 'corpus.jsonl'}\n"
    table = open_corpus(str(out))
    assert [(row.start_ms, row.end_ms) for row in table.rows] == [
        (GAP_MS + n * (TURN_MS + GAP_MS), (n + 1) * (TURN_MS + GAP_MS)) for n in range(3)
    ]
    assert {row.pauses_ms[0][1] - row.pauses_ms[0][0] for row in table.rows} == {PAUSE_MS}
    assert execute(["corpus", "check", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"turns": 3, "faults": [], "doubts": []}
    assert execute(["corpus", "show", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["turns"], shown["pauses"]["200 to 400 ms"], shown["licences"]) == (3, 3, {"CC0-1.0": 3})


def test_one_rttm_serves_several_recordings(tmp_path: Path) -> None:
    """By the recordings' names."""
    for name in ("a", "b"):
        write_corpus(tmp_path / name)
        (tmp_path / name / "talk.flac").rename(tmp_path / f"{name}.flac")
    (tmp_path / "all.rttm").write_text(
        "SPEAKER a 1 0.9 1.3 <NA> <NA> anna <NA>\nSPEAKER b 1 3.1 1.3 <NA> <NA> bo <NA>\n"
    )
    audio = [str(tmp_path / f"{name}.flac") for name in ("a", "b")]
    labels = ["--labels", str(tmp_path / "all.rttm")]
    assert execute(["corpus", "convert", *audio, *labels, "--out", str(tmp_path / "out")]) == 0
    rows = open_corpus(str(tmp_path / "out")).rows
    assert [(row.file, row.speaker, row.start_ms) for row in rows] == [("a.flac", "anna", 900), ("b.flac", "bo", 3100)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.flac"], "no.flac: there is no such file"),
        (["talk.flac"], "there is no label file for it; put one with its name beside it, or give --labels"),
        (["talk.flac", "--labels", "bad.txt"], "bad.txt:1: a label is start, end and text"),
        (["talk.flac", "--labels", "silent.txt"], "there is no speech in the labels"),
        (["talk.flac", "--labels", "good.txt", "--out", "there"], "there: it is there already"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Exit code 3, one line."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "bad.txt").write_text("speech from 1 to 2\n")
    (tmp_path / "silent.txt").write_text("1\t2\tsilence\n")
    write_labels(tmp_path / "good.txt")
    before = sorted(tmp_path.iterdir())
    assert execute(["corpus", "convert", "--out", "out", *arguments]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_check_names_each_fault_with_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing audio, an end after the file's, overlap, a word outside; and ends that the level contradicts."""
    path = write_corpus(tmp_path / "talks", 3)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["end_ms"] -= 250
    rows[0]["words"] = []
    rows += [
        {**rows[1], "id": "gone", "file": "gone.flac", "words": []},
        {**rows[1], "id": "late", "end_ms": 99_000, "words": []},
        {**rows[1], "id": "outside", "channel": 0, "words": [["far", 90_000, 90_100]]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert execute(["corpus", "check", str(tmp_path / "talks")]) == 1
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert "corpus.jsonl:4: there is no file" in text
    assert "corpus.jsonl:5: " in text
    assert "the turn ends at 99,000 ms" in text
    assert "turn 'outside': the word 'far' at 90000 ms is not inside it" in text
    assert "on the same channel" in text
    assert "corpus.jsonl:1: turn 'turn-0': by the level it ends 2" in text
    assert "ms later than the table says, which states ±5 ms" in text
    assert lines[-1].startswith("talks: 6 turns, ")


def test_a_malformed_table_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For each command that opens one."""
    (tmp_path / "corpus.csv").write_text("id,file\n")
    for command in ("check", "show"):
        assert execute(["corpus", command, str(tmp_path)]) == 3
        assert "the table has no turns" in capsys.readouterr().err


def test_the_labels_of_one_recording_are_not_those_of_two(tmp_path: Path) -> None:
    """An Audacity track does not say which it is about."""
    from turngap.corpora.conversion import pair_labels

    write_labels(tmp_path / "x.txt")
    with pytest.raises(UsageError, match="labels of one recording, and 2 are given"):
        pair_labels([tmp_path / "a.wav", tmp_path / "b.wav"], [tmp_path / "x.txt"])
    (tmp_path / "x.ctm").write_text("a 1 0\n")
    with pytest.raises(ScenarioError, match=r"x.ctm:1"):
        pair_labels([tmp_path / "a.wav", tmp_path / "b.wav"], [tmp_path / "x.ctm"])
