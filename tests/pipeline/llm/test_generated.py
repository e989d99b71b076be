"""Generated ids stand in later prompts as they came."""

from __future__ import annotations

from turngap_agent.llm import Message, Request, generated
from turngap_agent.llm.generated import Generated


def request(block: str, turns: int) -> Request:
    history = (Message("user", "Hello?"), Message("assistant", "Yes.")) * turns
    return Request(block, history, "And then?", 8)


def test_a_reply_is_known_by_call_and_place() -> None:
    """The last attempt at a turn stands; what was cut short is cut, and what is not known is given back."""
    known = Generated()
    known.keep(request("a", 0), [9, 9, 9])
    known.keep(request("a", 0), [1, 2, 3])
    known.keep(request("a", 1), [4, 5, 6])
    later = request("a", 2)
    assert list(known.reply(later, 1, [7, 7, 7])) == [1, 2, 3]
    assert list(known.reply(later, 3, [7, 7])) == [4, 5]
    assert list(known.reply(request("b", 2), 1, [7, 7, 7])) == [7, 7, 7]


def test_the_oldest_is_forgotten(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A server that answers for months does not grow."""
    monkeypatch.setattr(generated, "_REMEMBERED", 2)
    known = Generated()
    for block in "abc":
        known.keep(request(block, 0), [1])
    assert [list(known.reply(request(block, 1), 1, [7])) for block in "abc"] == [[7], [1], [1]]
