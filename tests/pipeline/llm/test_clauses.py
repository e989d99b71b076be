"""The clause splitter: early first clauses, no bad cuts, no lost words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm.clauses import SIZES, ClauseSplitter, Size

PLAIN = (Size(3, 12, 12),)


def clauses(*pieces: str, sizes: tuple[Size, ...] = SIZES) -> list[str]:
    splitter = ClauseSplitter(sizes)
    found = [clause for piece in pieces for clause in splitter.push(piece)]
    return found + splitter.flush()


@pytest.mark.parametrize("mark", [",", ";", ":", ".", "!", "?", " —", " –", " -"])
def test_a_mark_ends_a_clause_at_once(mark: str) -> None:
    """After two words a mark hands the clause on with the very piece that brings it (a hyphen needs its space)."""
    splitter = ClauseSplitter()
    assert splitter.push("Thank you") == []
    found = splitter.push(f"{mark} " if mark == " -" else mark)
    assert found == [f"Thank you{mark}"]


def test_a_mark_after_fewer_words_does_not() -> None:
    """ "Sure!" alone is no clause; it goes with what follows."""
    assert clauses("Sure", "!", " I can", " help", ".") == ["Sure! I can help."]


def test_a_clause_without_marks_ends_after_its_longest() -> None:
    """After its longest in whole words, once another one has begun."""
    assert clauses(*["", "one", "two", "three", "four", "five", "six", "seven"], "") == ["onetwothreefourfivesixseven"]
    pieces = [f" {word}" for word in ["one", "two", "three", "four", "five", "six", "seven"]]
    assert clauses(*pieces, sizes=(Size(3, 4, 4),)) == ["one two three four", "five six seven"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Thank you, I will find it for you.", ["Thank you,", "I will find it for you."]),
        ("I'm sorry, it's a bit late.", ["I'm sorry,", "it's a bit late."]),
        ("Yes, I have a room for tonight.", ["Yes, I have a room", "for tonight."]),
        ("Yes, I can arrange for you to speak with someone.", ["Yes, I can arrange", "for you to speak with someone."]),
        ("Thank you for your patience.", ["Thank you for your patience."]),
        ("Yes, please.", ["Yes, please."]),
        ("Hello, I am a hotel receptionist.", ["Hello, I am a hotel receptionist."]),
    ],
)
def test_the_first_clause_is_short_where_the_text_allows(reply: str, expected: list[str]) -> None:
    """Two words and a mark, or four words before one that opens a phrase; a single word never."""
    assert clauses(*re.findall(r"\s*\S+?(?=[,.]?(?:\s|$))|[,.]", reply)) == expected


def test_later_clauses_are_longer() -> None:
    """The second ends at a phrase from six words on, the third at nothing but its longest."""
    reply = "One two and three four and five six seven and eight nine ten eleven twelve and one two three"
    assert clauses(*re.findall(r"\s*\S+", reply)) == [
        "One two and three four",
        "and five six seven and eight nine ten eleven",
        "twelve and one two three",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "It costs about 3.5 dollars",
        "We have about 1,000 seats",
        "We open at 10:30 today",
        "Please call for Mr. Smith",
        "I spoke with J. Smith today",
        "Please write to help@example.com not www.example.org",
        "We open at 10 a.m. today",
        "Our well-known twenty-four hour line",
        "Open from 9–5 on weekdays",
    ],
)
def test_marks_inside_words_and_numbers_do_not_cut(text: str) -> None:
    """Decimals, times, initials, abbreviations, addresses and hyphens stay whole, given at once or by character."""
    assert clauses(text) == [text]
    assert clauses(*text) == [text]


def test_a_closing_quote_stays_with_its_clause() -> None:
    """A quote after the mark belongs to the clause before it, and never begins the next one."""
    assert clauses('He said "please hold on." Then he left us.') == ['He said "please hold on."', "Then he left us."]
    assert clauses("Please hold the line", ".", "..", " Thank you so much") == [
        "Please hold the line.",
        "Thank you so much",
    ]


def test_what_cannot_be_spoken_is_no_clause() -> None:
    """Marks and blanks alone give nothing."""
    assert clauses(" ", "...", "!", " -- ", "\n") == []


def test_markup_is_left_out() -> None:
    """Emphasis marks, which a synthesiser would read aloud or stumble on, are dropped."""
    assert clauses("I am **very** `glad`.") == ["I am very glad."]


_WORDS = st.text(st.sampled_from("ab1Z.,;:!?-—–'\"()\n… é*#"), max_size=80)


@given(st.lists(_WORDS, max_size=8), st.integers(1, 5), st.integers(5, 12), st.booleans())
def test_no_word_is_lost_repeated_or_moved(pieces: list[str], least: int, most: int, grows: bool) -> None:
    """The letters and digits of the clauses are those of the reply, in order, whatever the pieces."""
    found = clauses(*pieces, sizes=SIZES if grows else (Size(least, least, most),))
    assert re.findall(r"\w", "".join(found)) == re.findall(r"\w", "".join(pieces))
    assert all(re.search(r"\w", clause) for clause in found)


@given(st.lists(st.sampled_from(["hello", "world", "I", "am"]), min_size=1, max_size=60), st.integers(3, 12))
def test_no_clause_is_longer_than_its_longest(words: list[str], max_words: int) -> None:
    """Without any marks, clauses have `max_words` words, the last one the rest; cutting never joins or breaks words."""
    found = clauses(*[f" {word}" for word in words], sizes=(Size(3, max_words, max_words),))
    assert [len(clause.split()) for clause in found[:-1]] == [max_words] * (len(found) - 1)
    assert " ".join(found).split() == words
