"""Requests over real sockets, and every way in which a server can answer wrongly."""

import asyncio
from contextlib import aclosing

import pytest
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm.client import Client, refusal
from turngap_agent.llm.vllm.kv_cache import Reading
from turngap_agent.llm.vllm.server import free_port

from tests.pipeline.llm.vllm.fake_server import MODEL, REPLY, FakeServer

pytestmark = pytest.mark.anyio
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 24, "stream": True}


async def complete(url: str, stall_limit_s: float = 10, **more) -> str:
    client = Client(url, local=True, stall_limit_s=stall_limit_s)
    try:
        async with aclosing(client.stream("chat/completions", {**BODY, **more}, {"traceparent": "00-1-2-01"})) as found:
            return "".join([chunk.text async for chunk in found])
    finally:
        await client.close()


async def models(url: str) -> list[str]:
    client = Client(url, local=True, stall_limit_s=10)
    try:
        return await client.models()
    finally:
        await client.close()


async def test_a_reply_comes_in_chunks_and_the_trace_goes_on() -> None:
    """The words of the server, and the request's headers at the server."""
    async with FakeServer() as fake:
        assert await complete(fake.url) == "".join(REPLY)
    assert fake.headers[0]["traceparent"] == "00-1-2-01"


@pytest.mark.parametrize(
    ("fault", "said"),
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
async def test_a_fault_is_one_clear_line(fault: str, said: str) -> None:
    """Refusals, pages of another server, streams that break off, nonsense, and errors inside a stream."""
    async with FakeServer(fault) as fake:
        with pytest.raises(EngineError) as raised:
            await complete(fake.url)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_stalled_reply_fails_in_time() -> None:
    """No news for the limit is a failure, with the setting's name."""
    async with FakeServer("stall") as fake:
        with pytest.raises(EngineError, match=r"no news for 0\.2 s; .* llm\.stall_limit_s"):
            await complete(fake.url, stall_limit_s=0.2)


async def test_nobody_at_the_port_is_said() -> None:
    """A request and the list of models name the URL."""
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}/v1"
    with pytest.raises(EngineError, match="chat/completions: "):
        await complete(url)
    with pytest.raises(EngineError, match=r"nothing answers at http://127.0.0.1:\d+/v1/models .* llm\.url"):
        await models(url)


async def test_what_is_no_openai_server_is_said() -> None:
    """A web server without the list of models."""
    async with FakeServer("no_openai") as fake:
        with pytest.raises(EngineError, match=r"is no OpenAI server's \(HTTP 404.*llm\.url"):
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
        b"",  # closes without a word
    ],
)
async def test_whatever_answers_instead_is_one_line_with_the_setting(answer: bytes) -> None:
    """Another protocol, a page, JSON of another shape, a login, a fault, silence: the URL, and `llm.url`."""

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


async def test_its_models_are_listed() -> None:
    """Their names, as requests use them."""
    async with FakeServer() as fake:
        assert await models(fake.url) == [MODEL]


async def test_closing_a_stream_closes_the_connection() -> None:
    """The server sees it, and stops generating."""
    async with FakeServer("endless") as fake:
        client = Client(fake.url, local=True, stall_limit_s=10)
        async with aclosing(client.stream("chat/completions", BODY, {})) as found:
            await anext(found)
        async with asyncio.timeout(30):
            await fake.closed.wait()
        await client.close()
    assert fake.closed_by_client == 1


async def test_a_cancelled_reader_closes_the_connection() -> None:
    """As a turn that is cancelled does, while it waits for the next token."""
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
    """Nothing is known where there are none."""
    async with FakeServer() as fake:
        client = Client(fake.url, local=True, stall_limit_s=10)
        assert (await client.kv_cache()).block_tokens == 16
        assert await client.healthy()
        fake.fault = "never_ready"
        assert not await client.healthy()
        await client.close()
    client = Client(fake.url, local=True, stall_limit_s=10)
    assert await client.kv_cache() == Reading()
    assert not await client.healthy()
    await client.close()


async def test_a_key_is_sent_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """From VLLM_API_KEY, which vLLM itself reads."""
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    async with FakeServer() as fake:
        await complete(fake.url)
    assert fake.headers[0]["authorization"] == "Bearer secret"


def test_a_refusal_without_words_has_its_status() -> None:
    """A body that is no JSON is shown in short, one that is empty is not."""
    assert refusal("u", 503, b"") == "u: HTTP 503"
    assert refusal("u", 502, b"<h1>Bad\ngateway</h1>") == "u: HTTP 502, <h1>Bad gateway</h1>"
