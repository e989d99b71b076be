"""The JSON of a stream's events as values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm import chunks
from turngap_agent.llm.vllm.chunks import Chunk, Usage

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


def test_a_chat_chunk_gives_its_text() -> None:
    """As vLLM 0.32 sends it, with everything around the text."""
    data = (
        '{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":'
        '{"content":" hello"},"logprobs":null,"finish_reason":null,"token_ids":null}]}'
    )
    assert chunks.parse(data) == Chunk(" hello")


def test_a_role_chunk_has_no_text() -> None:
    """The first chunk of a chat tells the role; its content may be empty, null or absent."""
    for delta in ({"role": "assistant", "content": ""}, {"role": "assistant", "content": None}, {"role": "assistant"}):
        assert chunks.parse(json.dumps({"choices": [{"delta": delta}]})) == Chunk()


def test_a_completion_chunk_gives_text_and_token_ids() -> None:
    """Of `/v1/completions` with `return_token_ids`."""
    assert chunks.parse('{"choices":[{"text":"","token_ids":[7,8]}]}') == Chunk("", (7, 8))


def test_the_last_chunk_gives_the_accounts() -> None:
    """Prefix hits, queue, prefill and decode as vLLM 0.32 names them."""
    data = (
        '{"choices":[],"usage":{"prompt_tokens":193,"total_tokens":197,"completion_tokens":4,'
        '"prompt_tokens_details":{"cached_tokens":128,"created_cache_tokens":0}},'
        '"metrics":{"time_to_first_token_ms":135.5,"generation_time_ms":26.75,"queue_time_ms":0.25}}'
    )
    assert chunks.parse(data) == Chunk(usage=Usage(193, 4, 128, 0.25, 135.5, 26.75))


def test_accounts_of_another_server_lack_what_it_does_not_tell() -> None:
    """Plain OpenAI accounts have no metrics and perhaps no details."""
    assert chunks.parse('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}').usage == Usage(9, 4)


def test_an_error_in_the_stream_is_the_servers_own_words() -> None:
    """One line of them."""
    with pytest.raises(EngineError, match=r"middle of the reply: Engine core died$"):
        chunks.parse('{"error":{"message":"Engine core\\ndied","code":500}}')


@given(JSON)
def test_any_json_is_a_chunk_or_one_clear_line(body: object) -> None:
    """Nothing else than an EngineError comes out, in one line."""
    try:
        said = str(chunks.parse(json.dumps(body)))
    except EngineError as fault:
        said = str(fault)
    assert "\n" not in said


@given(st.text(max_size=40))
def test_what_is_no_json_is_shown(text: str) -> None:
    """The message has the beginning of what came."""
    with pytest.raises(EngineError, match="no JSON"):
        chunks.parse(f"{{{text}")
