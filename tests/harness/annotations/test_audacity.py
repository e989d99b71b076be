"""Audacity label tracks: what is read, what is written again, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.annotations import (
    Annotations,
    Stretch,
    find_label_file,
    join_stretches,
    order_annotations,
    parse_audacity,
    read_annotations,
    write_audacity,
)
from turngap_agent.errors import ScenarioError

TIMES = st.integers(0, 10**9).map(lambda microseconds: microseconds / 1000)
STRETCHES = st.builds(
    lambda a, b, text: Stretch(min(a, b), round(max(a, b) + 1, 3), text),
    TIMES,
    TIMES,
    st.sampled_from(["", "my number is four", "ja, genau"]),
)


def test_labels_are_stretches_in_ms() -> None:
    """Start, end and words of a label; "speech" says nothing about the words."""
    read = parse_audacity("1.5\t2.25\thello there\n0.403\t1.204000\tspeech\n", "a.txt")
    assert read.speech == (Stretch(403.0, 1204.0), Stretch(1500.0, 2250.0, "hello there"))


def test_notes_silences_and_frequencies_are_no_speech() -> None:
    """A label without length, one that says "noise", and the line of frequencies after a label are left out."""
    text = "0.1\t0.1\ta note\n0.5\t1.0\t\n\\\t100.0\t2000.0\n1.0\t2.0\tnoise\n2.0\t3.0\t[silence]\n"
    assert parse_audacity(text, "a.txt").speech == (Stretch(500.0, 1000.0),)


@given(st.lists(STRETCHES, max_size=8))
def test_what_is_written_is_read_again(stretches: list[Stretch]) -> None:
    """Audacity's six decimals keep the times to the microsecond."""
    annotations = order_annotations(stretches)
    assert sorted(parse_audacity(write_audacity(annotations), "a.txt").speech, key=repr) == sorted(
        annotations.speech, key=repr
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 0.2 speech\n", "a.txt:1: a label is start, end and text with tabs between them"),
        (
            "0.1\t0.2\n0,5\t1\tspeech\n",
            "a.txt:2: the start must be a time in seconds, not '0,5': write a decimal point",
        ),
        ("nan\t1\n", "a.txt:1: the start must be a time in seconds"),
        ("-1\t1\n", "a.txt:1: the start must be a time in seconds from 0"),
        ("16000000\t32000000\n", "a.txt:1: the start must be a time in seconds from 0 to 1000000"),
        ("2\t1\n", "a.txt:1: it ends at 1 s, before its start at 2 s"),
    ],
)
def test_a_line_that_is_no_label_is_named(text: str, message: str) -> None:
    """One line: file, line, what is wrong."""
    with pytest.raises(ScenarioError, match="^" + message) as caught:
        parse_audacity(text, "a.txt")
    assert caught.value.code == "scenario.labels"
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_junk_is_refused_or_read(text: str) -> None:
    """Any text gives annotations or a ScenarioError."""
    try:
        read = parse_audacity(text, "junk.txt")
    except ScenarioError as error:
        assert str(error).startswith("junk.txt:")  # noqa: PT017
    else:
        assert all(one.end_ms > one.start_ms >= 0 for one in read.speech)


def test_a_label_file_is_found_beside_its_recording(tmp_path: Path) -> None:
    """The recording's name with the suffix of a label format."""
    (tmp_path / "a.wav").touch()
    assert find_label_file(tmp_path / "a.wav") is None
    (tmp_path / "a.txt").write_text("\ufeff0\t1\tspeech\r\n", "utf-16")
    assert find_label_file(tmp_path / "a.wav") == tmp_path / "a.txt"
    (tmp_path / "a.txt").write_bytes("\ufeff0\t1\tspeech\r\n".encode())
    assert read_annotations(tmp_path / "a.txt") == Annotations((Stretch(0.0, 1000.0),))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Missing, binary and unknown files: one line each."""
    (tmp_path / "b.txt").write_bytes(b"\xff\x00\x80")
    for name, message in [("a.txt", "no such file"), ("b.txt", "not a text file"), ("c.xyz", "label files end in")]:
        with pytest.raises(ScenarioError, match=message):
            read_annotations(tmp_path / name)


def test_stretches_with_short_gaps_are_joined() -> None:
    """Only those of one speaker."""
    stretches = [Stretch(0, 100, "a"), Stretch(150, 300, "b"), Stretch(90, 400, speaker="B"), Stretch(600, 700)]
    assert join_stretches(stretches, 60) == (
        Stretch(0, 300, "a b"),
        Stretch(90, 400, speaker="B"),
        Stretch(600, 700),
    )


def test_a_speaker_and_a_channel_are_selected() -> None:
    """What names no channel counts for each channel."""
    one, other, both = Stretch(0, 1, speaker="A", channel=0), Stretch(0, 1, speaker="B", channel=1), Stretch(1, 2)
    annotations = order_annotations([one, other, both])
    assert annotations.select(channel=1).speech == (other, both)
    assert annotations.select(speaker="A").speech == (one,)
    assert (annotations.speakers, annotations.channels) == (("A", "B"), (0, 1))
