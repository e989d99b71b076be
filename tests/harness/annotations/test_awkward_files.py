"""Label files as tools really write them: encodings, line ends, comments, what formats allow beside usual lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.annotations import Annotations, Stretch, TimedWord, order_annotations, parse_audacity, read_annotations
from turngap.annotations.nist import parse_ctm, parse_rttm, parse_stm
from turngap.annotations.textgrid import write_textgrid
from turngap_agent.errors import ScenarioError

SPEECH = Annotations((Stretch(500.0, 1250.0, "my number", "anna"), Stretch(3000.0, 4000.0, "four", "anna")))
FILES = {
    "a.txt": "0.5\t1.25\tmy number\n\\\t120.0\t3400.5\n2.0\t2.0\ta note\n3.0\t4.0\tfour\n",
    "a.rttm": (
        ";; made by hand\nSPKR-INFO a 1 <NA> <NA> <NA> adult anna <NA> <NA>\n\n"
        "SPEAKER a 1 0.5 0.75 <NA> <NA> anna 0.9 <NA>\nNON-SPEECH a 1 2 0.5 <NA> noise <NA> <NA> <NA>\n"
        "SPEAKER a 1 3 1 <NA> <NA> anna <NA>\n"
    ),
    "a.ctm": ";; 4 words\na A 0.5 0.25 my 0.98\na A 0.8 0.45 number -6.7\na A 1.4 0.1 @\na A 3 1 four 1\n",
    "a.stm": (
        ';; LABEL "F" "Female" "Female talkers"\na 1 anna 0.5 1.25 <o,F,00> my number\n'
        "a 1 anna 1.25 3 IGNORE_TIME_SEGMENT_IN_SCORING\na 1 anna 3 4 <o,F,00> { four / for { fore / @ } } @\n"
    ),
    "a.csv": 'start;end;text\n0.5;1.25;"my number"\n3;4;four\n',
    "a.TextGrid": write_textgrid(SPEECH),
    "b.TextGrid": "! a comment\n" + write_textgrid(SPEECH, short=True),
    "a.words.xml": (
        '<?xml version="1.0"?><root><w starttime="0.5" endtime="0.75">my</w>'
        '<w starttime="0.8" endtime="1.25">number</w>'
        '<w starttime="1.25" endtime="1.25" punc="true">.</w><w>lost</w><vocalsound type="laugh" starttime="2"/>'
        '<w starttime="3.0" endtime="4.0">four</w></root>'
    ),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", FILES)
def test_encodings_and_line_ends_change_nothing(tmp_path: Path, name: str, encoding: str, line_end: str) -> None:
    """Every format says the same in each: of Windows and old Macs, with a byte order mark, in two bytes a letter."""
    path = tmp_path / name
    path.write_bytes(FILES[name].replace("\n", line_end).encode(encoding))
    found = [(one.start_ms, one.end_ms, one.text or "my number") for one in read_annotations(path).speech]
    expected = [(500.0, 1250.0, "my number"), (3000.0, 4000.0, "four")]
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    if name != "a.rttm":  # stretches alone
        assert found == expected


def test_a_word_file_of_ami_is_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    """ISO-8859-1: "café" is no UTF-8 there."""
    declaration = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>'
    text = f'{declaration}<root><w starttime="1" endtime="2">caf\xe9</w></root>'
    path = tmp_path / "ES2004a.A.words.xml"
    path.write_bytes(text.encode("iso-8859-1"))
    assert read_annotations(path).words == (TimedWord("caf\xe9", 1000.0, 2000.0, "A"),)
    path.write_bytes(text.replace("ISO-8859-1", "no-such-code").encode("iso-8859-1"))
    with pytest.raises(ScenarioError, match="not a text file in UTF-8 or UTF-16"):
        read_annotations(path)


def test_overlapping_stretches_stay_as_they_are() -> None:
    """Of two speakers and of one: each as the file has it."""
    spans = (("0.0", "2.0", "anna"), ("1.0", "2.0", "bo"), ("1.5", "2", "anna"))
    text = "".join(f"SPEAKER a 1 {start} {length} <NA> <NA> {who} <NA>\n" for start, length, who in spans)
    assert [(one.start_ms, one.end_ms, one.speaker) for one in parse_rttm(text, "a").speech] == [
        (0.0, 2000.0, "anna"),
        (1000.0, 3000.0, "bo"),
        (1500.0, 3500.0, "anna"),
    ]


SPANS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**5)), min_size=1, max_size=6)


@given(SPANS, st.sampled_from(["\n", "\n\n", "\n;; a comment\n"]))
def test_times_written_in_ms_are_read_as_written(spans: list[tuple[int, int]], between: str) -> None:
    """In each format with a line an entry, whatever lies between the lines; nothing is lost, added or moved."""
    rows = [(f"{start / 1000}", f"{length / 1000}", f"{(start + length) / 1000}") for start, length in spans]
    expected = sorted((float(start), float(start + length)) for start, length in spans)
    rttm = between.join(f"SPEAKER a 1 {start} {length} <NA> <NA> s <NA> <NA>" for start, length, _ in rows)
    stm = between.join(f"a 1 s {start} {end} yes" for start, _, end in rows)
    ctm = between.join(f"a 1 {start} {length} yes 0.5" for start, length, _ in rows)
    audacity = "\n".join(f"{start}\t{end}\tyes" for start, _, end in rows)
    for read in (parse_rttm(rttm, "a").speech, parse_stm(stm, "a").speech, parse_audacity(audacity, "a").speech):
        assert [(one.start_ms, one.end_ms) for one in read] == expected
    assert [(word.start_ms, word.end_ms) for word in parse_ctm(ctm, "a").words] == expected
    assert parse_stm(stm, "a").speech == order_annotations(parse_stm(stm, "a").speech).speech
