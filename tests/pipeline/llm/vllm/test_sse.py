"""Server-sent events, read from bytes in pieces of any size."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm.sse import MAX_EVENT_CHARACTERS, EventParser

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)


def parsed(stream: bytes, cuts: list[int]) -> list[str]:
    parser = EventParser()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [event for start, end in pairwise(places) for event in parser.push(stream[start:end])]


@given(
    st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.sampled_from(["", "\ufeff"]),
)
def test_events_come_out_whole_however_the_bytes_are_cut(
    events: list[list[str]], end: str, cuts: list[int], mark: str
) -> None:
    """Any of the three line ends, several data lines an event, cuts inside a character or a CR LF."""
    text = "".join("".join(f"data: {line}{end}" for line in event) + end for event in events)
    assert parsed((mark + text).encode(), cuts) == ["\n".join(event) for event in events]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_no_bytes_upset_the_parser(stream: bytes, cuts: list[int]) -> None:
    """Bytes that are no events give the same in pieces as at once, and raise nothing."""
    assert parsed(stream, cuts) == parsed(stream, [])


def test_comments_other_fields_and_empty_events_are_skipped() -> None:
    """A keep-alive comment and an `event:` line are not data; an event with no data is none."""
    stream = b": keep-alive\n\nevent: x\ndata: a\nid: 3\n\n\n\ndata:b\n\ndata\n\n"
    assert parsed(stream, []) == ["a", "b", ""]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    """Without its empty line an event is not complete."""
    assert parsed(b"data: a\n\ndata: b\n", []) == ["a"]


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    """Neither a line nor an event is kept without end."""
    parser = EventParser()
    for _ in range(MAX_EVENT_CHARACTERS // 1010):
        parser.push(piece)
    with pytest.raises(EngineError, match="event without end"):
        parser.push(piece * 20)
