"""Word errors: normalised, aligned, and the last word that was or was not heard."""

from __future__ import annotations

import pytest
from turngap.scoring.wer import load_normaliser, word_errors


@pytest.mark.parametrize(
    ("reference", "transcript"),
    [
        ("It's twenty dollars, please.", "it is $20 please"),
        ("The colour of the centre", "the color of the center"),
        ("Um, press one", "Press 1."),
        ("I'll call at nine one one", "i will call at 911"),
    ],
)
def test_spelling_is_no_error(reference: str, transcript: str) -> None:
    """Case, punctuation, fillers, contractions and numbers are the same words however they are written."""
    words = word_errors(reference, transcript)
    assert words is not None
    assert (words.errors, words.wer, words.missing_last_word) == (0, 0.0, None)


@pytest.mark.parametrize(
    ("transcript", "errors"),
    [
        ("please call me back", 1),
        ("please call back tomorrow", 1),
        ("please call me back soon tomorrow", 1),
        ("please tall me back tomorrow", 1),
        ("", 5),
        ("a b c d e f g", 7),
    ],
)
def test_errors_are_counted_over_reference_words(transcript: str, errors: int) -> None:
    """Deletions, insertions and substitutions each count one; invented words can push the rate over 1."""
    words = word_errors("please call me back tomorrow", transcript)
    assert words is not None
    assert (words.errors, words.words, words.wer) == (errors, 5, errors / 5)


@pytest.mark.parametrize(
    ("transcript", "missing"),
    [
        ("please call me back tomorrow", None),
        ("call me tomorrow", None),
        ("please call me back", "tomorrow"),
        ("please call me back tomor", "tomorrow"),
        ("tomorrow please call me back", "tomorrow"),
        ("", "tomorrow"),
    ],
)
def test_the_last_word_has_to_be_in_its_place(transcript: str, missing: str | None) -> None:
    """Dropped, cut short, replaced or heard elsewhere only, the last word is missing; misheard it is there."""
    words = word_errors("please call me back tomorrow", transcript)
    assert words is not None
    assert words.missing_last_word == missing


def test_the_last_word_has_two_letters() -> None:
    """A single letter at the end is too easily lost to be a sign; the word before it is looked for."""
    heard, lost = word_errors("choose plan b", "choose plan"), word_errors("choose plan b", "choose")
    assert heard is not None
    assert lost is not None
    assert (heard.missing_last_word, lost.missing_last_word) == (None, "plan")


def test_a_number_is_a_word() -> None:
    """A spelled-out number is one word of digits once normalised, and counts as the last word."""
    words = word_errors("my room is twenty", "my room is")
    assert words is not None
    assert words.missing_last_word == "20"


def test_no_reference_word_no_rate() -> None:
    """Fillers alone leave nothing to be compared with."""
    assert word_errors("Um, uh.", "hello") is None


def test_the_normaliser_is_made_once() -> None:
    """Making it reads files; every turn shares one."""
    assert load_normaliser() is load_normaliser()


@pytest.mark.parametrize(
    ("transcript", "missing"),
    [
        ("my number is four five two three", 0),
        ("my number is four five", 1),
        ("number is 4523", 1),
        ("my number is 4529", 0),
        ("my lumber is 4523", 0),
        ("", 4),
    ],
)
def test_words_that_are_missing(transcript: str, missing: int) -> None:
    """Spoken digits are normalised to one number: one with fewer digits lacks words; a misheard word is there."""
    compared = word_errors("my number is four five two three", transcript)
    assert compared is not None
    assert compared.missing == missing
