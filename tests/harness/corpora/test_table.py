"""Tables of corpora: what is read, what is written again, what is refused, and which rows are selected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.corpora import CorpusSelection, TableRow, TableWord, select_rows
from turngap.corpora.reading import format_table, parse_table, read_table
from turngap.corpora.table import cite
from turngap_agent.errors import UsageError

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).map(str.strip)
MS = st.integers(0, 10**6).map(lambda tenths: tenths / 10)


@st.composite
def rows(draw: st.DrawFn) -> TableRow:
    start = draw(MS)
    words = draw(st.lists(st.tuples(TEXTS.filter(bool), MS, MS), max_size=3))
    edges = sorted(draw(st.sets(MS.filter(lambda ms: ms > 0), max_size=4)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return TableRow(
        id=draw(TEXTS.filter(bool)),
        file=draw(st.sampled_from(["a.wav", "b/c.flac"])),
        start_ms=start,
        end_ms=start + 100_001,
        channel=draw(st.integers(0, 3)),
        uncertainty_ms=draw(st.none() | st.floats(0, 500)),
        text=draw(TEXTS),
        words=tuple(sorted((TableWord(t, min(a, b), max(a, b)) for t, a, b in words), key=lambda word: word.start_ms)),
        pauses_ms=tuple((start + a, start + b) for a, b in pairs if b <= 100_000 and start + b <= start + 100_001),
        speaker=draw(TEXTS),
        question=draw(TEXTS),
    )


@given(st.lists(rows(), min_size=1, max_size=4, unique_by=lambda row: row.id))
def test_what_is_written_is_read_again(written: list[TableRow]) -> None:
    """A `.jsonl` table keeps all that a row says."""
    read = parse_table(format_table(written), "t", ".jsonl")
    assert [replace(row, place="") for row in read] == written


def test_the_three_formats_say_the_same() -> None:
    """CSV with JSON in its cells, lines, and a list with what is common to its turns."""
    words = '"[[""my"", 100, 300], [""cat"", 600, 900]]"'
    csv = f"id,file,start_ms,end_ms,words,speaker,licence\na,a.wav,100,900,{words},S,X\n"
    row = {"id": "a", "start_ms": 100, "end_ms": 900, "speaker": "S", "words": [["my", 100, 300], ["cat", 600, 900]]}
    lines = json.dumps({**row, "file": "a.wav", "licence": "X"})
    listed = json.dumps({"file": "a.wav", "licence": "X", "turns": [row]})
    read = [parse_table(csv, "t", ".csv"), parse_table(lines, "t", ".jsonl"), parse_table(listed, "t", ".json")]
    assert len({tuple(replace(one, place="") for one in each) for each in read}) == 1
    (only,) = read[0]
    assert (only.transcript, only.pauses, only.place, cite(only)) == (
        "my cat",
        ((300.0, 600.0),),
        "t:2",
        "source not stated (X)",
    )


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("id,file,start,end_ms\n", ".csv", "t:1: unknown column 'start'"),
        ("file,start_ms\n", ".csv", "t:1: there is no column `id`"),
        ("id,file,start_ms,end_ms\na,a.wav,1\n", ".csv", "t:2: the row does not have the header's 4 cells"),
        ("id,file,start_ms,end_ms,words\na,a.wav,1,2,my cat\n", ".csv", "t:2: `words` is not JSON"),
        ("id,file,start_ms,end_ms\na,a.wav,x,2\n", ".csv", "t:2: `start_ms` must be a number, not 'x'"),
        ("id,file,start_ms,end_ms\na,a.wav,nan,2\n", ".csv", "t:2: `start_ms` must be "),
        ("id,file,start_ms,end_ms\na,a.wav,3,2\n", ".csv", "t:2: `end_ms` 2 is not after `start_ms` 3"),
        ("id,file,start_ms,end_ms\na,a.wav,1,2\na,a.wav,3,4\n", ".csv", "t:3: the id 'a' is that of t:2 too"),
        ("id,file,start_ms,end_ms\n", ".csv", "t: the table has no turns"),
        ("{}\n", ".jsonl", "t:1: `id` is missing"),
        ("[1]\n", ".jsonl", "t:1: an object with the keys of a turn is expected"),
        ("[" * 100_000, ".jsonl", "t:1: not JSON"),
        ('{"id": "a", "file": "f", "start_ms": 0, "end_ms": 9, "end": 1}', ".jsonl", "t:1: unknown key `end`"),
        (
            '{"id": "a", "file": "f", "start_ms": 0, "end_ms": 9, "pauses_ms": [[5, 12]]}',
            ".jsonl",
            "t:1: pause 5 to 12 ms",
        ),
        ('{"rows": []}', ".json", "t: unknown key 'rows'"),
        ('{"turns": 3}', ".json", "t: a list of turns is expected"),
        ("[3]", ".json", "t: turn 1: an object with the keys of a turn is expected"),
    ],
)
def test_faults_are_lines_with_their_place(text: str, suffix: str, message: str) -> None:
    """File, line or turn, what is wrong."""
    with pytest.raises(UsageError) as caught:
        parse_table(text, "t", suffix)
    assert str(caught.value).startswith(message)
    assert caught.value.code == "usage.corpus.table"


@given(st.text(max_size=300), st.sampled_from([".csv", ".jsonl", ".json"]))
def test_junk_is_refused(text: str, suffix: str) -> None:
    """No text that is not a table is read as one, and none ends in another error."""
    with pytest.raises(UsageError):
        parse_table(text, "t", suffix)


def test_many_faults_are_counted() -> None:
    """Ten are listed."""
    with pytest.raises(UsageError) as caught:
        parse_table("{}\n" * 30, "t", ".jsonl")
    assert str(caught.value).splitlines()[-1] == "t: and 20 more faults"


def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    """A table cannot name files of the machine."""
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "file": "../x.wav", "start_ms": 0, "end_ms": 9}')
    table = read_table(tmp_path / "corpus.jsonl")
    with pytest.raises(UsageError, match=r"corpus.jsonl:1: `file` '../x.wav' leads out of the corpus's folder"):
        table.locate(table.rows[0])


def row(number: int, **keys: object) -> TableRow:
    return TableRow(id=str(number), file="a.wav", start_ms=0, end_ms=1000 * (number + 1), **keys)  # type: ignore[arg-type]


ROWS = tuple(row(n, speaker="AB"[n % 2], licence="X", pauses_ms=((10, 300),) if n > 5 else ()) for n in range(9))


def test_filters_keep_the_order_of_the_table() -> None:
    """Speaker, length, pauses."""
    chosen = select_rows(ROWS, CorpusSelection(name="c", speaker="A", min_duration_ms=3000, max_duration_ms=8000))
    assert [one.id for one in chosen] == ["2", "4", "6"]
    assert [one.id for one in select_rows(ROWS, CorpusSelection(name="c", min_pauses=1))] == ["6", "7", "8"]


def test_a_number_of_turns_is_drawn_by_the_seed() -> None:
    """The same seed draws the same."""
    drawn = [select_rows(ROWS, CorpusSelection(name="c", count=4, seed=seed)) for seed in (1, 1, 3)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [one.id for one in drawn[0]] == sorted(one.id for one in drawn[0])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"speaker": "C"}, "no turn has the speaker 'C'; there are: A, B"),
        ({"licence": "Y"}, "no turn has the licence 'Y'; there are: X"),
        ({"count": 10}, r"9 of its turns \(9 in all\) pass the filters"),
        ({"min_duration_ms": 1e6}, r"0 of its turns .* \(at least 1,000,000 ms long\), and 1 is needed"),
    ],
)
def test_a_selection_that_is_empty_says_what_there_is(keys: dict[str, object], message: str) -> None:
    """One line."""
    with pytest.raises(UsageError, match=message):
        select_rows(ROWS, CorpusSelection.model_validate({"name": "c", **keys}))
