"""TextGrid, RTTM, CTM, STM, CSV, JSON and AMI XML: what is read, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.annotations import Annotations, Stretch, TimedWord, find_label_file, order_annotations, read_annotations
from turngap.annotations.ami import parse_ami
from turngap.annotations.nist import parse_ctm, parse_rttm, parse_stm
from turngap.annotations.reading import PARSERS
from turngap.annotations.tables import parse_csv, parse_json
from turngap.annotations.textgrid import parse_textgrid, write_textgrid
from turngap_agent.errors import ScenarioError

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8)
MS = st.integers(0, 10**8).map(lambda microseconds: microseconds / 1000)


@st.composite
def annotations(draw: st.DrawFn) -> Annotations:
    speaker = st.sampled_from(["anna", 'bo "b"'])
    said = TEXTS.map(lambda text: f"we say {text}").filter(lambda text: text == " ".join(text.split()))
    stretches = draw(st.lists(st.tuples(MS, MS, said, speaker), min_size=1, max_size=4))
    words = draw(st.lists(st.tuples(MS, MS, st.sampled_from(["yes", "no", '"q"', "12.5", "o'clock"])), max_size=4))
    return order_annotations(
        [Stretch(min(a, b), round(max(a, b) + 1, 3), text, who) for a, b, text, who in stretches],
        [TimedWord(text, min(a, b), round(max(a, b) + 1, 3), stretches[0][3]) for a, b, text in words],
    )


@given(annotations(), st.booleans())
def test_a_textgrid_keeps_stretches_and_words(written: Annotations, short: bool) -> None:
    """Both forms; a tier a speaker, and one for the words of each."""
    read = parse_textgrid(write_textgrid(written, short=short), "a.TextGrid")
    assert sorted(map(repr, read.speech)) == sorted(map(repr, written.speech))
    assert sorted(map(repr, read.words)) == sorted(map(repr, written.words))


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.3
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2.3
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 0.6
            text = "number"
        intervals [3]:
            xmin = 0.6
            xmax = 1.5
            text = "sp"
        intervals [4]:
            xmin = 1.5
            xmax = 2.1
            text = "four"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2.3
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.3
            text = "n"
    item [3]:
        class = "TextTier"
        name = "bell"
        xmin = 0
        xmax = 2.3
        points: size = 1
        points [1]:
            number = 1.1
            mark = "x"
"""


def test_an_aligners_textgrid_has_words_and_their_stretches() -> None:
    """Silences among words, phones and points are left out."""
    read = parse_textgrid(LONG, "a.TextGrid")
    assert read.words == (TimedWord("number", 250.0, 600.0), TimedWord("four", 1500.0, 2100.0))
    assert read.speech == (Stretch(250.0, 600.0, "number"), Stretch(1500.0, 2100.0, "four"))


def test_rttm_has_speakers_and_words() -> None:
    """Channels count from 1 there, from 0 here; other kinds of lines are passed over."""
    text = (
        ";; comment\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown anna <NA>\n"
        "SPEAKER talk 2 1.5 0.75 <NA> <NA> anna <NA> <NA>\nLEXEME talk 2 1.6 0.2 yes lex anna <NA>\n"
    )
    read = parse_rttm(text, "a.rttm")
    assert read == Annotations(
        (Stretch(1500.0, 2250.0, "", "anna", 1),), (TimedWord("yes", 1600.0, 1800.0, "anna", 1),)
    )


def test_ctm_has_words_and_of_alternatives_the_first() -> None:
    """The stretches are those that the words form."""
    text = (
        "talk A 0.5 0.2 my\ntalk A * * <ALT_BEGIN>\ntalk A 0.8 0.1 number\ntalk A * * <ALT>\n"
        "talk A 0.8 0.1 lumber\ntalk A * * <ALT_END>\ntalk A 2 0.3 four 0.98\n"
    )
    read = parse_ctm(text, "a.ctm")
    assert [word.text for word in read.words] == ["my", "number", "four"]
    assert read.speech == (Stretch(500.0, 900.0, "my number", channel=0), Stretch(2000.0, 2300.0, "four", channel=0))


def test_stm_has_segments_with_their_words() -> None:
    """A label is no word, and what is not scored is no speech."""
    text = (
        "talk 1 anna 0.5 2.25 <o,f0,female> my number is\n"
        "talk 1 anna 3 4 <o> ignore_time_segment_in_scoring\ntalk 1 inter_segment_gap 4 5\n"
    )
    assert parse_stm(text, "a.stm").speech == (Stretch(500.0, 2250.0, "my number is", "anna", 0),)


def test_lines_about_another_recording_are_refused_or_selected() -> None:
    """A file about several is read for the one that is named."""
    text = "a 1 0 1 yes\nb 1 0 1 no\n"
    with pytest.raises(ScenarioError, match=r"c.ctm:2: it is about 'b', and the lines before about 'a'"):
        parse_ctm(text, "c.ctm")
    assert [word.text for word in parse_ctm(text, "c.ctm", "b").words] == ["no"]


def test_csv_columns_have_the_names_that_people_give_them() -> None:
    """Seconds or ms, an end or a duration, stretches or words, any usual separator."""
    expected = Annotations((Stretch(500.0, 1250.0, "my number", "anna", 1),))
    assert parse_csv("Start,End,Text,Speaker,channel\n0.5,1.25,my number,anna,1\n", "a.csv") == expected
    assert parse_csv("onset\tduration\tlabel\tspk\tchannel\n0.5\t0.75\tmy number\tanna\t1\n", "a.tsv") == expected
    words = parse_csv("start_ms;end_ms;word\n500;700;my\n900;1250;number\n", "a.csv")
    assert words.words == (TimedWord("my", 500.0, 700.0), TimedWord("number", 900.0, 1250.0))


def test_json_rows_are_found_wherever_they_are() -> None:
    """A transcriber's segments with words inside, a list, and an object a line."""
    text = (
        '{"text": "x", "segments": [{"start": 0.5, "end": 1, "text": " my", "speaker": "a", "words": [{"word": " my", '
    )
    read = parse_json(text + '"start": 0.5, "end": 0.9, "probability": 0.9}]}]}', "a.json")
    assert read == Annotations((Stretch(500.0, 1000.0, "my", "a"),), (TimedWord("my", 500.0, 900.0, "a"),))
    lines = '{"start_ms": 10, "end_ms": 20}\n{"start_ms": 30, "end_ms": 40}\n'
    assert parse_json(lines, "a.jsonl").speech == (Stretch(10.0, 20.0), Stretch(30.0, 40.0))


def test_json_lists_pairs_by_speaker_and_channel() -> None:
    """Two speakers of a dialogue, each with a channel: under `speakers`, or in a list that bears the speaker's name."""
    expected = (Stretch(500.0, 1250.0, "", "anna", 1), Stretch(2000.0, 3000.0, "", "bo", 0))
    by_name = {
        "file": "a.wav",
        "channels": {"bo": 0, "anna": 1},
        "anna_begins_s": 0.5,
        "anna_speech_s": [[0.5, 1.25]],
        "bo_speech_ms": [[2000, 3000]],
        "words": {"anna": "yes"},
    }
    assert parse_json(json.dumps(by_name), "a.json").speech == expected
    inside = {"anna": {"channel": 1, "speech": [[0.5, 1.25]]}, "bo": {"channel": 0, "stretches_ms": [[2000, 3000]]}}
    assert parse_json(json.dumps({"speakers": inside}), "a.json").speech == expected
    listed = [{"speaker": name, **one} for name, one in inside.items()]
    assert parse_json(json.dumps({"speakers": listed}), "a.json").speech == expected
    assert parse_json('{"speech_s": [[0.5, 1]], "channels": 2}', "a.json").speech == (Stretch(500.0, 1000.0),)


AMI = """<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>
<nite:root nite:id="ES2004a.B.words" xmlns:nite="http://nite.sourceforge.net/">
   <w nite:id="w0" starttime="10.1" endtime="10.4">Okay</w>
   <w nite:id="w1" starttime="10.4" endtime="10.4" punc="true">.</w>
   <vocalsound nite:id="v2" starttime="10.5" endtime="11" type="laugh"/>
   <w nite:id="w3" starttime="12.35" endtime="12.6">We&#39;re</w>
   <w nite:id="w4">lost</w>
</nite:root>
"""


def test_ami_words_are_those_with_times() -> None:
    """Punctuation and laughter are no words; the file's name says who speaks."""
    read = parse_ami(AMI, "x/ES2004a.B.words.xml")
    assert read.words == (TimedWord("Okay", 10100.0, 10400.0, "B"), TimedWord("We're", 12350.0, 12600.0, "B"))
    assert len(read.speech) == 2


def test_xml_that_could_grow_is_refused() -> None:
    """Entities that refer to one another are not expanded."""
    with pytest.raises(ScenarioError, match="declares a document type"):
        parse_ami('<!DOCTYPE x [<!ENTITY a "b">]><root>&a;</root>', "a.xml")


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".textgrid", "0.1\t0.2\tspeech", "a.textgrid:1: not a Praat TextGrid"),
        (".textgrid", LONG[:400], "a.textgrid:21: not a Praat TextGrid, or it ends too early"),
        (".textgrid", LONG.replace("size = 4", "size = many"), r"a.textgrid:\d+: a text in quotes is expected"),
        (".rttm", "SPEAKER talk 1 0.5\n", "a.rttm:1: a SPEAKER line has at least 8 fields, this one 4"),
        (".rttm", "SPEAKER talk 1 0.5 x <NA> <NA> a\n", "a.rttm:1: the duration must be a time in seconds, not 'x'"),
        (".ctm", "talk A 0.5\n", "a.ctm:1: a CTM line is"),
        (".stm", "talk A anna 2 1 yes\n", "a.stm:1: it ends at 1 s, before its start at 2 s"),
        (".csv", "a,b\n1,2\n", "a.csv:1: there is no column for the start"),
        (".csv", "start,end\n1\n", "a.csv:2: the row does not have the header's 2 cells"),
        (".csv", "start,end\n1,inf\n", "a.csv:2: `end` must be a time"),
        (".json", "{", "a.json: not JSON"),
        (".json", "[" * 100_000, "a.json: not JSON"),
        (".json", "{}", "a.json: no object in it has a start"),
        (".json", '[{"start": true, "end": 2}]', r"a.json\[1\]: `start` must be a number, not 'True'"),
        (".json", '{"speech": [[1, 2, 3]]}', r"a.json.speech\[1\]: a stretch is a pair \[start, end\], not"),
        (".json", '{"speech": [[2, 1]]}', r"a.json.speech\[1\]: it ends at 1 s, before its start"),
        (".json", '{"speech": [["a", 1]]}', r"a.json.speech\[1\]: `start` must be a time in seconds"),
        (".json", '{"speech": [[null, 1]]}', r"a.json.speech\[1\]: it has no start"),
        (".json", '{"channels": {"a": "x"}, "a_speech": [[0, 1]]}', r"a.json.a_speech\[1\]: `channel` must be"),
        (".json", '[{"start": 1}]', r"a.json\[1\]: it has no end"),
        (".xml", "<a>", "a.xml:1: not XML"),
        (".xml", "<a/>", "a.xml: there are no words"),
    ],
)
def test_what_is_malformed_is_named(suffix: str, text: str, message: str) -> None:
    """One line: file, line, what is wrong."""
    with pytest.raises(ScenarioError, match="^" + message) as caught:
        PARSERS[suffix](text, f"a{suffix}")
    assert "\n" not in str(caught.value)
    assert caught.value.code == "scenario.labels"


PIECES = st.sampled_from([LONG, AMI, "SPEAKER a 1 0.5 1 <NA> <NA> b", "start,end\n1,2\n", '[{"start": 1, "end": 2}]'])


@given(st.sampled_from(sorted(PARSERS)), st.text(max_size=120) | PIECES, st.integers(0, 300), st.text(max_size=6))
def test_junk_gives_one_line_and_nothing_else(suffix: str, text: str, at: int, inserted: str) -> None:
    """Any text, and real files with anything in them, are read or refused by every reader."""
    try:
        read = PARSERS[suffix](text[:at] + inserted + text[at:], f"junk{suffix}")
    except ScenarioError as error:
        assert str(error).startswith(f"junk{suffix}")  # noqa: PT017
        assert error.code == "scenario.labels"  # noqa: PT017
    else:
        assert all(0 <= one.start_ms <= one.end_ms for one in read.speech)
        assert all(0 <= word.start_ms <= word.end_ms for word in read.words)


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    """Praat writes `.TextGrid`; a name with brackets is a name."""
    (tmp_path / "a[1].wav").touch()
    (tmp_path / "a[1].TextGrid").write_text(LONG, "utf-16")
    found = find_label_file(tmp_path / "a[1].wav")
    assert found == tmp_path / "a[1].TextGrid"
    assert len(read_annotations(found).words) == 2


@pytest.mark.parametrize("label", ["-" * 100_000 + "x", "<" + " " * 100_000 + "x", "[" * 100_000, " " * 100_000])
def test_a_label_made_to_take_long_is_read_at_once(label: str) -> None:
    """Long labels are words, whatever they consist of; blanks alone are none."""
    read = parse_csv(f'start,end,text\n0,1,"{label}"\n', "a.csv")
    assert [one.text for one in read.speech] == [" ".join(label.split())]
    words = parse_csv(f'start,end,word\n0,1,"{label}"\n', "a.csv").words
    assert len(words) == bool(label.strip())


def test_a_tiers_name_has_a_limit() -> None:
    """It is a speaker's name."""
    text = LONG.replace('name = "words"', f'name = "{"-" * 5000}"')
    with pytest.raises(ScenarioError, match="a tier's name has 5,000 characters"):
        parse_textgrid(text, "a.TextGrid")


@pytest.mark.parametrize("mark", ["\x1c", "\x1d", "\x1f", "\u2003", "\x85"])
def test_space_of_any_kind_around_a_time_is_no_part_of_it(mark: str) -> None:
    """What Python strips of a text and what it reads a number around are not the same."""
    (stretch,) = parse_csv(f"start,end\n0.5{mark},{mark}1\n", "a.csv").speech
    assert (stretch.start_ms, stretch.end_ms) == (500.0, 1000.0)
