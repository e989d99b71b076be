"""Requests over real sockets, and each way in which a server can answer wrongly."""

import asyncio
from contextlib import aclosing

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm.client import Client, describe_refusal
from turngap_agent.llm.vllm.kv_cache import CacheReading
from turngap_agent.llm.vllm.server import find_free_port

from tests.pipeline.llm.vllm.fake_server import MODEL, REPLY, FakeServer

pytestmark = pytest.mark.anyio
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 24, "stream": True}


async def complete(url: str, stall_limit_s: float = 10, **more) -> str:
    client = Client(url, local=True, stall_limit_s=stall_limit_s)
    try:
        async with aclosing(
            client.stream("chat/completions", {**BODY, **more}, {"traceparent": "00-1-2-01"})
        ) as chunks:
            return "".join([chunk.text async for chunk in chunks])
    finally:
        await client.close()


async def models(url: str) -> list[str]:
    client = Client(url, local=True, stall_limit_s=10)
    try:
        return await client.models()
    finally:
        await client.close()


async def test_a_reply_arrives_in_chunks_and_the_trace_is_continued() -> None:
    """The server's words arrive here, and the request's headers there."""
    async with FakeServer() as fake:
        assert await complete(fake.url) == "".join(REPLY)
    assert fake.headers[0]["traceparent"] == "00-1-2-01"


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        ("http_400", "HTTP 400, it went wrong"),
        ("http_401", "HTTP 401, it went wrong; set VLLM_API_KEY"),
        ("http_500", "HTTP 500, it went wrong"),
        ("html", "no OpenAI server"),
        ("truncated", "closed the connection in the middle of the reply"),
        ("malformed", "no JSON: '{nonsense'"),
        ("error_event", "middle of the reply: EngineCore encountered an issue"),
    ],
)
async def test_a_wrong_answer_is_one_line(fault: str, facts: str) -> None:
    """Refusals, pages of another server, streams that end early, unknown events, and errors inside a stream."""
    async with FakeServer(fault) as fake:
        with pytest.raises(EngineError) as raised:
            await complete(fake.url)
    assert facts in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_stalled_reply_ends_at_the_limit() -> None:
    """With the name of the setting."""
    async with FakeServer("stall") as fake:
        with pytest.raises(EngineError, match=r"0\.2 s; .* llm\.stall_limit_s"):
            await complete(fake.url, stall_limit_s=0.2)


async def test_a_port_without_a_server_is_one_line() -> None:
    """Both of a request and of the list of models, with the URL."""
    url = f"http://127.0.0.1:{find_free_port('127.0.0.1')}/v1"
    with pytest.raises(EngineError, match="chat/completions: "):
        await complete(url)
    with pytest.raises(EngineError, match=r"nothing answers at http://127.0.0.1:\d+/v1/models .* llm\.url"):
        await models(url)


async def test_a_server_without_models_is_one_line() -> None:
    """Any web server that is no OpenAI server."""
    async with FakeServer("no_openai") as fake:
        with pytest.raises(EngineError, match=r"/v1/models: .*HTTP 404.*llm\.url"):
            await models(fake.url)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"data": 1}',
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"",  # closes without an answer
    ],
)
async def test_whatever_else_answers_is_one_line_with_the_setting(answer: bytes) -> None:
    """Another protocol, a page, other JSON, a login, an HTTP error, no answer: with the URL, and `llm.url`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(EngineError) as raised:
            await models(url)
    assert url in str(raised.value)
    assert "correct llm.url" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_the_models_of_a_server_are_listed() -> None:
    """Their names, as requests use them."""
    async with FakeServer() as fake:
        assert await models(fake.url) == [MODEL]


async def test_closing_a_stream_closes_the_connection() -> None:
    """The server notices, and stops generating."""
    async with FakeServer("endless") as fake:
        client = Client(fake.url, local=True, stall_limit_s=10)
        async with aclosing(client.stream("chat/completions", BODY, {})) as chunks:
            await anext(chunks)
        async with asyncio.timeout(30):
            await fake.closed.wait()
        await client.close()
    assert fake.closed_by_client == 1


async def test_a_cancelled_reader_closes_the_connection() -> None:
    """As a cancelled turn does while it waits for the next token."""
    async with FakeServer("stall") as fake:
        task = asyncio.create_task(complete(fake.url))
        while not fake.generated:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        task.cancel()
        async with asyncio.timeout(30):
            await fake.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_cache_is_read_from_the_metrics() -> None:
    """Empty where there are none."""
    async with FakeServer() as fake:
        client = Client(fake.url, local=True, stall_limit_s=10)
        assert (await client.read_kv_cache()).block_tokens == 16
        assert await client.check_health()
        fake.fault = "never_ready"
        assert not await client.check_health()
        await client.close()
    client = Client(fake.url, local=True, stall_limit_s=10)
    assert await client.read_kv_cache() == CacheReading()
    assert not await client.check_health()
    await client.close()


async def test_a_key_is_sent_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """From VLLM_API_KEY, which vLLM itself uses."""
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    async with FakeServer() as fake:
        await complete(fake.url)
    assert fake.headers[0]["authorization"] == "Bearer secret"


def test_a_refusal_without_a_message_has_its_status() -> None:
    """A body that is no JSON is shown, shortened; an empty one is not."""
    assert describe_refusal("u", 503, b"") == "u: HTTP 503"
    assert describe_refusal("u", 502, b"<h1>Bad\ngateway</h1>") == "u: HTTP 502, <h1>Bad gateway</h1>"
