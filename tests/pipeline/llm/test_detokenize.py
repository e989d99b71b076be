"""Detokenising a byte-level vocabulary: spaces, characters of several bytes, and every text there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from turngap_agent.llm.detokenize import Detokenizer


def stand_ins(text: str) -> str:
    """The text as the tokenizers library spells its bytes."""
    return "".join(piece for piece, _ in ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text))


def test_spaces_and_line_breaks_come_back() -> None:
    """A leading space is part of its token."""
    text = Detokenizer()
    assert [text.push(token) for token in ("Hello", ",", "Ġworld", "Ċ")] == ["Hello", ",", " world", "\n"]


def test_a_character_comes_with_its_last_byte() -> None:
    """The two bytes of é in two tokens give nothing, then é."""
    first, second = stand_ins("é")
    text = Detokenizer()
    assert [text.push("caf"), text.push(first), text.push(second)] == ["caf", "", "é"]
    assert text.flush() == ""


def test_a_reply_cut_inside_a_character_says_so() -> None:
    """Half a character is a replacement character, not an exception."""
    text = Detokenizer()
    assert text.push(stand_ins("é")[0]) == ""
    assert text.flush() == "\ufffd"


@given(st.text(max_size=30), st.integers(1, 5))
def test_any_text_comes_back(original: str, size: int) -> None:
    """Whatever the text and wherever the tokens end."""
    spelt = stand_ins(original)
    text = Detokenizer()
    pieces = [text.push(spelt[at : at + size]) for at in range(0, len(spelt), size)]
    assert "".join(pieces) + text.flush() == original
