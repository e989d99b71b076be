"""Text for CSM: no markup, no emoji, pieces that end where a speaker breathes, no word lost; and its ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap_agent.tts.csm.text import (
    PIECE_CHARACTERS,
    FileTokenizer,
    clean,
    encode_utterance,
    expected_frames,
    max_frames,
    split_pieces,
)


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
def test_only_speakable_text_stays(text: str, spoken: str) -> None:
    """Markup, links' targets, emoji and control characters go; letters with accents, money and sums stay."""
    assert clean(text) == spoken


@pytest.mark.parametrize("text", ["", "   \n", "…", "?!", "😀👍🏽", "***", "\x00\x07", "- – —"])
def test_a_text_without_words_has_no_piece(text: str) -> None:
    """A piece has at least a letter or a digit."""
    assert split_pieces(text) == []


def test_a_long_text_is_cut_at_the_ends_of_sentences() -> None:
    """5,000 characters: pieces in order, each a run of whole sentences, with every word."""
    sentence = "The pool opens at seven, and breakfast is from eight to ten. "
    text = (sentence * 90)[:5000]
    pieces = split_pieces(text)
    assert " ".join(pieces) == text.strip()
    assert all(len(piece) <= PIECE_CHARACTERS for piece in pieces)
    assert all(piece.endswith(".") for piece in pieces[:-1])


def test_a_text_without_breaks_is_cut() -> None:
    """One word of 1,000 letters is spoken in parts."""
    assert "".join(split_pieces("x" * 1000)) == "x" * 1000


@settings(deadline=None)  # a shared machine pauses
@given(st.text(max_size=1500))
def test_any_text_has_speakable_pieces(text: str) -> None:
    """Short pieces with something to speak; no letter or digit of the clean text is lost."""
    pieces = split_pieces(text)
    assert all(0 < len(piece) <= PIECE_CHARACTERS for piece in pieces)
    assert all(any(character.isalnum() for character in piece) for piece in pieces)
    kept = [character for character in "".join(pieces) if character.isalnum()]
    assert kept == [character for character in clean(text) if character.isalnum()]


def test_the_limit_of_frames_is_well_above_the_expectation() -> None:
    """14 characters a second are expected; the limit is two and a half times that, and two seconds."""
    assert expected_frames("x" * 140) == 125
    assert max_frames("x" * 140) == 338
    assert max_frames("a") > 25


class Letters:
    """One id a letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_an_utterance_has_its_speaker_between_begin_and_end() -> None:
    """`[128000] + tokens("[1]hi") + [128001]`."""
    assert encode_utterance(Letters(), 1, "hi", 128_000) == (128_000, *b"[1]hi", 128_001)


def test_a_checkpoints_tokenizer_adds_no_special_tokens(tmp_path: Path) -> None:
    """A post-processor in the file does not run: the layout of ids is CSM's own."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra csm: pip install 'turngap[csm]'")
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[BOS]": 0, "good": 1, "day": 2}, unk_token="[BOS]"))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rust.post_processor = tokenizers.processors.TemplateProcessing("[BOS] $0", special_tokens=[("[BOS]", 0)])
    rust.save(str(tmp_path / "tokenizer.json"))
    assert FileTokenizer(tmp_path / "tokenizer.json").encode("good day") == [1, 2]
