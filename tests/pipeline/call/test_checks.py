"""What engines may return: anything else is refused before it is used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.checks import (
    LOUDEST,
    MOST_WORDS_CHARACTERS,
    ClauseAudio,
    ReplyText,
    check_probability,
    check_transcript,
    make_voicings_check,
)
from turngap_agent.endpointing import Voicing
from turngap_agent.stt import Transcript


@pytest.mark.parametrize("text", ["", "Ünïcode, 日本", "a line\nand\tanother\r"])
def test_text_passes(text: str) -> None:
    """Words of any language, and what separates them."""
    assert check_transcript(Transcript(text)).text == text
    assert ReplyText(24)(text) == text


@pytest.mark.parametrize("text", ["\x00", "a\x1b[31m", "\ud800", "x" * (MOST_WORDS_CHARACTERS + 1), None, b"words", 7])
def test_other_text_is_refused(text: object) -> None:
    """Control characters, half characters, megabytes, and what is no text."""
    with pytest.raises((TypeError, ValueError)):
        check_transcript(Transcript(text))
    with pytest.raises((TypeError, ValueError)):
        ReplyText(24)(text)


@pytest.mark.parametrize("value", [None, "words", 7, {}])
def test_what_is_no_transcript_is_refused(value: object) -> None:
    """With what it is."""
    with pytest.raises(TypeError, match=f"type {type(value).__name__}"):
        check_transcript(value)


def test_a_reply_without_end_is_refused() -> None:
    """However small its pieces are."""
    check = ReplyText(24)
    for _ in range(200):
        check("word ")
    with pytest.raises(ValueError, match="over 1000 characters, for at most 24 tokens"):
        check("word ")


def test_audio_passes() -> None:
    """Also empty, a little too loud, or of double precision, which becomes single."""
    check = ClauseAudio("Yes.", 24_000)
    for value in (np.zeros(0, np.float32), np.full(10, 1.3, np.float32), np.zeros(10)):
        assert check(value).dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [
        np.array([0, np.nan], np.float32),
        np.array([0, -np.inf], np.float32),
        np.full(10, 2 * LOUDEST, np.float32),
        np.zeros((2, 10), np.float32),
        np.zeros(10, np.int16),
        np.array(0.0, np.float32),
        [0.0, 0.1],
        b"\x00\x01",
        None,
    ],
    ids=str,
)
def test_other_audio_is_refused(value: object) -> None:
    """Not finite, far too loud, or of another type or shape."""
    with pytest.raises((TypeError, ValueError)):
        ClauseAudio("Yes.", 24_000)(value)


def test_audio_without_end_is_refused() -> None:
    """A minute for a word."""
    check, second = ClauseAudio("Yes.", 8000), np.zeros(8000, np.float32)
    for _ in range(60):
        check(second)
    with pytest.raises(ValueError, match="over 60 s of audio for 4 characters"):
        check(second)


@given(st.floats(0, 1))
def test_probabilities_pass(value: float) -> None:
    """From 0 to 1, numpy's too."""
    assert check_probability(np.float64(value)) == value


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01, float("inf"), None, "high", np.zeros(2)])
def test_other_probabilities_are_refused(value: object) -> None:
    """Not a number, out of bounds, or of another type."""
    with pytest.raises((TypeError, ValueError)):
        check_probability(value)


def test_windows_are_in_order_and_heard() -> None:
    """Each ends after the last one, and within what was fed."""
    check = make_voicings_check(256, 1024)
    assert check([Voicing(512, 0.5), Voicing(768, 1.0)]) == [Voicing(512, 0.5), Voicing(768, 1.0)]
    assert check([]) == []
    for wrong in ([Voicing(256, 0.5)], [Voicing(2048, 0.5)], [Voicing(512, 2.0)], [Voicing(512, 0.5, float("nan"))]):
        with pytest.raises(ValueError, match=r"as a probability|a window that ends"):
            check(wrong)
    for other in (None, Voicing(512, 0.5), [None]):
        with pytest.raises(TypeError):
            check(other)
