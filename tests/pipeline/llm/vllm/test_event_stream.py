"""Event streams: bytes in pieces of any size to events, and the JSON of an event to a chunk."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm.event_stream import MAX_EVENT_CHARACTERS, Chunk, EventParser, Usage, parse_chunk

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "text", "usage", "metrics", "error", "token_ids", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_a_chat_chunk_has_text() -> None:
    """As vLLM 0.32 sends it, with everything around the text."""
    data = (
        '{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":'
        '{"content":" hello"},"logprobs":null,"finish_reason":null,"token_ids":null}]}'
    )
    assert parse_chunk(data) == Chunk(" hello")


def test_a_role_chunk_has_no_text() -> None:
    """The first chunk of a chat names the role; its content may be empty, null or absent."""
    for delta in ({"role": "assistant", "content": ""}, {"role": "assistant", "content": None}, {"role": "assistant"}):
        assert parse_chunk(json.dumps({"choices": [{"delta": delta}]})) == Chunk()


def test_a_completion_chunk_has_text_and_token_ids() -> None:
    """Of `/v1/completions` with `return_token_ids`."""
    assert parse_chunk('{"choices":[{"text":"","token_ids":[7,8]}]}') == Chunk("", (7, 8))


def test_the_last_chunk_has_the_usage() -> None:
    """Prefix hits, queue, prefill and decode as vLLM 0.32 names them."""
    data = (
        '{"choices":[],"usage":{"prompt_tokens":193,"total_tokens":197,"completion_tokens":4,'
        '"prompt_tokens_details":{"cached_tokens":128,"created_cache_tokens":0}},'
        '"metrics":{"time_to_first_token_ms":135.5,"generation_time_ms":26.75,"queue_time_ms":0.25}}'
    )
    assert parse_chunk(data) == Chunk(usage=Usage(193, 4, 128, 0.25, 135.5, 26.75))


def test_another_servers_usage_may_lack_fields() -> None:
    """Plain OpenAI usage has no metrics, and may have no details."""
    assert parse_chunk('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}').usage == Usage(9, 4)


def test_an_error_in_the_stream_has_the_servers_message() -> None:
    """On one line."""
    with pytest.raises(EngineError, match=r"middle of the reply: Engine core died$"):
        parse_chunk('{"error":{"message":"Engine core\\ndied","code":500}}')


@given(JSON)
def test_any_json_is_a_chunk_or_an_error_of_one_line(body: object) -> None:
    """No other error is raised."""
    try:
        text = str(parse_chunk(json.dumps(body)))
    except EngineError as error:
        text = str(error)
    assert "\n" not in text


def is_json(text: str) -> bool:
    """Whether Python reads it as JSON."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@given(st.text(max_size=40).filter(lambda text: not is_json(f"{{{text}")))
def test_data_that_is_no_json_is_shown(text: str) -> None:
    """The message contains the start of the data."""
    with pytest.raises(EngineError, match="no JSON"):
        parse_chunk(f"{{{text}")


DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)


def parse_events(stream: bytes, cuts: list[int]) -> list[str]:
    parser = EventParser()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [event for start, end in pairwise(places) for event in parser.push(stream[start:end])]


@given(
    st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.sampled_from(["", "\ufeff"]),
)
def test_events_are_whole_wherever_the_bytes_are_cut(
    events: list[list[str]], end: str, cuts: list[int], mark: str
) -> None:
    """Any of the three line ends, several data lines an event, cuts inside a character or a CR LF."""
    text = "".join("".join(f"data: {line}{end}" for line in event) + end for event in events)
    assert parse_events((mark + text).encode(), cuts) == ["\n".join(event) for event in events]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_bytes_can_be_parsed(stream: bytes, cuts: list[int]) -> None:
    """Bytes that are no events raise nothing, and have the same result in pieces as at once."""
    assert parse_events(stream, cuts) == parse_events(stream, [])


def test_comments_other_fields_and_empty_events_are_skipped() -> None:
    """A keep-alive comment and an `event:` line are not data; without data there is no event."""
    stream = b": keep-alive\n\nevent: x\ndata: a\nid: 3\n\n\n\ndata:b\n\ndata\n\n"
    assert parse_events(stream, []) == ["a", "b", ""]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    """Without its empty line an event is not complete."""
    assert parse_events(b"data: a\n\ndata: b\n", []) == ["a"]


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"])
def test_an_endless_event_is_an_error(piece: bytes) -> None:
    """Neither a line nor an event may grow without limit."""
    parser = EventParser()
    for _ in range(MAX_EVENT_CHARACTERS // 1010):
        parser.push(piece)
    with pytest.raises(EngineError, match=str(MAX_EVENT_CHARACTERS)):
        parser.push(piece * 20)
