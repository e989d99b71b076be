"""The clause splitter: early first clauses, no wrong cuts, no lost words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm.clauses import SIZES, SIZES_WITHOUT_EARLY_PHRASES, ClauseSize, ClauseSplitter

PLAIN = (ClauseSize(3, 12, 12),)


def clauses(*pieces: str, sizes: tuple[ClauseSize, ...] = SIZES) -> list[str]:
    splitter = ClauseSplitter(sizes)
    complete = [clause for piece in pieces for clause in splitter.push(piece)]
    return complete + splitter.flush()


@pytest.mark.parametrize("mark", [",", ";", ":", ".", "!", "?", " —", " –", " -"])
def test_a_mark_ends_a_clause_at_once(mark: str) -> None:
    """After two words a mark completes the clause with the piece that contains it (a hyphen needs its space)."""
    splitter = ClauseSplitter()
    assert splitter.push("Thank you") == []
    result = splitter.push(f"{mark} " if mark == " -" else mark)
    assert result == [f"Thank you{mark}"]


def test_a_mark_after_one_word_does_not() -> None:
    """ "Sure!" alone is no clause; the next words are added to it."""
    assert clauses("Sure", "!", " I can", " help", ".") == ["Sure! I can help."]


def test_a_clause_without_marks_ends_at_its_greatest_length() -> None:
    """After so many whole words, once another one has started."""
    assert clauses(*["", "one", "two", "three", "four", "five", "six", "seven"], "") == ["onetwothreefourfivesixseven"]
    pieces = [f" {word}" for word in ["one", "two", "three", "four", "five", "six", "seven"]]
    assert clauses(*pieces, sizes=(ClauseSize(3, 4, 4),)) == ["one two three four", "five six seven"]


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
        ("Hello, I am happy to help you.", ["Hello, I am happy", "to help you."]),
        ("I am sure what it was.", ["I am sure what it was."]),
        ("Yes, I will go tomorrow.", ["Yes, I will go tomorrow."]),
    ],
)
def test_the_first_clause_is_short_where_the_text_allows(reply: str, expected: list[str]) -> None:
    """Two words and a mark, or four words before one that opens a phrase; never a single word."""
    assert clauses(*re.findall(r"\s*\S+?(?=[,.]?(?:\s|$))|[,.]", reply)) == expected


def test_early_phrases_are_a_setting_of_the_first_clause() -> None:
    """Without them "to" opens none; with them it opens none in a later clause."""
    pieces = re.findall(r"\s*\S+", "Hello, I am happy to help you today.")
    assert clauses(*pieces, sizes=SIZES_WITHOUT_EARLY_PHRASES) == ["Hello, I am happy to help you", "today."]
    assert clauses(*pieces)[0] == "Hello, I am happy"
    later = re.findall(r"\s*\S+", "Thank you, I am glad that you called to say so.")
    assert clauses(*later) == ["Thank you,", "I am glad that you called to say so."]


def test_later_clauses_are_longer() -> None:
    """The second ends at a phrase from six words on, the third only at its greatest length."""
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
def test_marks_inside_words_and_numbers_do_not_split(text: str) -> None:
    """Decimals, times, initials, abbreviations, addresses and hyphens stay whole, pushed at once or by character."""
    assert clauses(text) == [text]
    assert clauses(*text) == [text]


def test_a_closing_quote_stays_with_its_clause() -> None:
    """A quote after the mark belongs to the clause before it, and never starts the next one."""
    assert clauses('He said "please hold on." Then he left us.') == ['He said "please hold on."', "Then he left us."]
    assert clauses("Please hold the line", ".", "..", " Thank you so much") == [
        "Please hold the line.",
        "Thank you so much",
    ]


def test_text_without_words_is_no_clause() -> None:
    """Marks and blanks alone are dropped."""
    assert clauses(" ", "...", "!", " -- ", "\n") == []


def test_markup_is_dropped() -> None:
    """A synthesiser would read emphasis marks aloud or fail on them."""
    assert clauses("I am **very** `glad`.") == ["I am very glad."]


_WORDS = st.text(st.sampled_from("ab1Z.,;:!?-—–'\"()\n… é*#"), max_size=80)


@given(st.lists(_WORDS, max_size=8), st.integers(1, 5), st.integers(5, 12), st.booleans())
def test_no_word_is_lost_repeated_or_moved(pieces: list[str], least: int, most: int, grows: bool) -> None:
    """The letters and digits of the clauses are those of the reply, in order, whatever the pieces."""
    result = clauses(*pieces, sizes=SIZES if grows else (ClauseSize(least, least, most),))
    assert re.findall(r"\w", "".join(result)) == re.findall(r"\w", "".join(pieces))
    assert all(re.search(r"\w", clause) for clause in result)


@given(st.lists(st.sampled_from(["hello", "world", "I", "am"]), min_size=1, max_size=60), st.integers(3, 12))
def test_no_clause_exceeds_its_greatest_length(words: list[str], max_words: int) -> None:
    """Without any marks, clauses have `max_words` words, the last one the rest; no word is joined or split."""
    result = clauses(*[f" {word}" for word in words], sizes=(ClauseSize(3, max_words, max_words),))
    assert [len(clause.split()) for clause in result[:-1]] == [max_words] * (len(result) - 1)
    assert " ".join(result).split() == words
