"""A script's text as exactly so many tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm import script

TEXT = "Certainly, I can look that up for you. One moment please."


def test_without_a_number_it_is_the_script() -> None:
    """A piece a token; joined they are the text, and the shipped profiles' has as many as a turn has by default."""
    assert "".join(script.pieces(TEXT)) == TEXT
    assert len(script.pieces(TEXT)) == 14
    assert script.pieces("") == script.pieces(" ", 3) == []


@given(st.text(alphabet="ab ,.1", min_size=1).filter(str.strip), st.integers(1, 200))
def test_with_one_it_has_exactly_so_many(text: str, tokens: int) -> None:
    """The script again and again, words apart."""
    found = script.pieces(text, tokens)
    assert len(found) == tokens
    assert " ".join([text.strip()] * tokens).startswith("".join(found))
