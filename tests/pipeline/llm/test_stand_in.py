"""Random weights' scripts and ids: a script as exactly so many tokens, and generated ids in later prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm import Message, Request, stand_in
from turngap_agent.llm.stand_in import GeneratedIds, split_script, split_words

TEXT = "Certainly, I can look that up for you. One moment please."


def test_words_keep_the_space_before_them() -> None:
    """Joined they are the text."""
    assert split_words("Yes, of  course.") == ["Yes,", " of", "  course."]


def test_without_a_number_a_script_is_generated_once() -> None:
    """Joined its tokens are the text; the shipped profiles' script has as many as a turn has by default."""
    assert "".join(split_script(TEXT)) == TEXT
    assert len(split_script(TEXT)) == 14
    assert split_script("") == split_script(" ", 3) == []


@given(st.text(alphabet="ab ,.1", min_size=1).filter(str.strip), st.integers(1, 200))
def test_with_a_number_it_has_exactly_so_many_tokens(text: str, tokens: int) -> None:
    """The script is repeated, with a space between."""
    pieces = split_script(text, tokens)
    assert len(pieces) == tokens
    assert " ".join([text.strip()] * tokens).startswith("".join(pieces))


def request(block: str, turns: int) -> Request:
    history = (Message("user", "Hello?"), Message("assistant", "Yes.")) * turns
    return Request(block, history, "And then?", 8)


def test_the_ids_of_a_reply_are_stored_by_call_and_position() -> None:
    """The last attempt at a turn counts; an interrupted reply has as many as its text, an unknown one its text's."""
    generated = GeneratedIds()
    generated.store(request("a", 0), [9, 9, 9])
    generated.store(request("a", 0), [1, 2, 3])
    generated.store(request("a", 1), [4, 5, 6])
    later = request("a", 2)
    assert list(generated.of_reply(later, 1, [7, 7, 7])) == [1, 2, 3]
    assert list(generated.of_reply(later, 3, [7, 7])) == [4, 5]
    assert list(generated.of_reply(request("b", 2), 1, [7, 7, 7])) == [7, 7, 7]


def test_the_oldest_replies_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs for months does not grow."""
    monkeypatch.setattr(stand_in, "_MAX_REPLIES", 2)
    generated = GeneratedIds()
    for block in "abc":
        generated.store(request(block, 0), [1])
    assert [list(generated.of_reply(request(block, 1), 1, [7])) for block in "abc"] == [[7], [1], [1]]
