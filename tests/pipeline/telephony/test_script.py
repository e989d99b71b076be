"""A call's script goes there and back in custom parameters, and a damaged one is one line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import script
from turngap_agent.telephony.script import MAX_REPLY_TOKENS, TurnScript

WORDS = st.text(min_size=1).map(str.strip).filter(bool)
TURNS = st.lists(st.builds(TurnScript, WORDS, st.integers(1, MAX_REPLY_TOKENS)), max_size=12)


@given(TURNS)
def test_there_and_back(turns: list[TurnScript]) -> None:
    """In their order, whatever the words are; other parameters are ignored."""
    assert script.parse_parameters({"nonce": "x", **script.format_parameters(turns)}) == tuple(turns)


@given(st.dictionaries(st.sampled_from(["turn-0", "turn-1", "turn-01", "other"]), st.text()))
def test_anything_else_is_read_or_refused(given_: dict[str, str]) -> None:
    """Never another exception than the one that is reported."""
    with contextlib.suppress(ProtocolError):
        assert all(turn.words.strip() and turn.reply_tokens > 0 for turn in script.parse_parameters(given_))


@pytest.mark.parametrize(
    ("parameters", "facts"),
    [
        ({"turn-0": "hello"}, "turn-0: 'hello' is not"),
        ({"turn-0": "0 hello"}, "is not"),
        ({"turn-0": "513 hello"}, "is not"),
        ({"turn-0": "5 "}, "is not"),
        ({"turn-1": "5 hello"}, "turn-1"),
    ],
)
def test_a_damaged_one_is_one_line(parameters: dict[str, str], facts: str) -> None:
    """It names the parameter."""
    with pytest.raises(ProtocolError, match=facts) as raised:
        script.parse_parameters(parameters)
    assert raised.value.code == "protocol.script"
