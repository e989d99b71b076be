"""What is spoken of a text: no markup, no emoji, pieces that end where a speaker breathes, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap_agent.tts.csm.text import PIECE_CHARACTERS, cleaned, expected_frames, most_frames, pieces


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Certainly, I can help.", "Certainly, I can help."),
        ("**Sure!** 😀 See [our page](https://x.example/a_b) 👍🏽.", "Sure! See our page ."),
        ("It is £5.50 + 20 % = £6.60\n\n- really", "It is £5.50 + 20 % = £6.60 - really"),
        ("naïve café, déjà vu", "naïve café, déjà vu"),
        ("tab\tbell\x07null\x00", "tab bell null"),
    ],
)
def test_only_what_can_be_said_stays(text: str, spoken: str) -> None:
    """Markup, links' targets, emoji and control characters go; letters with accents, money and sums stay."""
    assert cleaned(text) == spoken


@pytest.mark.parametrize("text", ["", "   \n", "…", "?!", "😀👍🏽", "***", "\x00\x07", "- – —"])
def test_nothing_to_speak_gives_no_piece(text: str) -> None:
    """A piece has a letter or a digit at least."""
    assert pieces(text) == []


def test_a_long_text_is_cut_at_the_ends_of_sentences() -> None:
    """5,000 characters: pieces in order, each a run of whole sentences, with every word."""
    sentence = "The pool opens at seven, and breakfast is from eight to ten. "
    text = (sentence * 90)[:5000]
    found = pieces(text)
    assert " ".join(found) == text.strip()
    assert all(len(piece) <= PIECE_CHARACTERS for piece in found)
    assert all(piece.endswith(".") for piece in found[:-1])


def test_a_text_without_breaks_is_cut_all_the_same() -> None:
    """One word of 1,000 letters is spoken in parts."""
    assert "".join(pieces("x" * 1000)) == "x" * 1000


@settings(deadline=None)  # a shared machine pauses
@given(st.text(max_size=1500))
def test_any_text_gives_speakable_pieces(text: str) -> None:
    """Whatever comes: short pieces with something to say, and no letter or digit of the cleaned text is lost."""
    found = pieces(text)
    assert all(0 < len(piece) <= PIECE_CHARACTERS for piece in found)
    assert all(any(character.isalnum() for character in piece) for piece in found)
    kept = [character for character in "".join(found) if character.isalnum()]
    assert kept == [character for character in cleaned(text) if character.isalnum()]


def test_runaway_audio_has_a_bound_well_above_sane_readings() -> None:
    """14 characters a second is the expectation, two and a half times it and two seconds the bound."""
    assert expected_frames("x" * 140) == 125
    assert most_frames("x" * 140) == 338
    assert most_frames("a") > 25
