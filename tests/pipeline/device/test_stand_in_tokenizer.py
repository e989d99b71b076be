"""The tokenizer of random weights."""

from __future__ import annotations

from turngap_agent.device.stand_in_tokenizer import StandInTokenizer


def test_it_has_about_as_many_tokens_as_a_large_vocabulary() -> None:
    """One in four to five and a half characters of English; the same ids in every process."""
    text = "Certainly, the swimming pool opens at seven in the morning, and breakfast is served until 10:30."
    ids = StandInTokenizer(128_000).encode(text)
    assert 4 <= len(text) / len(ids) <= 5.5
    assert ids[0] == 76_299
    assert all(0 <= token < 128_000 for token in ids)


def test_joined_tokens_are_the_text() -> None:
    """Digits, marks, blanks and letters of other alphabets too."""
    text = "  It's 10:30, caf\u00e9_1 \u2014 ok?\n"
    assert "".join(StandInTokenizer(1).split(text)) == text
