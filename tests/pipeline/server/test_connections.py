"""Connections whose request does not come: few at a time, and not for long."""

import asyncio
import contextlib

import httpx
import pytest
from turngap_agent.server import connections
from turngap_agent.server.stream import end_now
from turngap_agent.server.waiting_room import WaitingRoom

pytestmark = pytest.mark.anyio


def test_the_oldest_makes_room():
    """Over the number of places the first to come is sent away; who left in time is not."""
    room, sent_away = WaitingRoom(2), []
    for name in "abcd":
        room.enter(name, lambda name=name: sent_away.append(name))
        if name == "b":
            room.leave("a")
    assert (sent_away, len(room)) == (["b"], 2)
    room.leave("b")
    assert len(room) == 2


async def test_a_wait_that_has_just_ended_is_left_alone():
    """Whoever enters a full room sends the oldest away, also at the very moment at which its time is over."""
    async with asyncio.timeout(60) as entered:
        room = WaitingRoom(1)
        room.enter("oldest", lambda: end_now(waiting))
        try:
            async with asyncio.timeout(0) as waiting:
                await asyncio.Event().wait()
        except TimeoutError:
            room.enter("next", lambda: end_now(entered))
    assert len(room) == 1

    async def wait_to_be_sent_away() -> None:
        async with asyncio.timeout(60) as waiting:
            end_now(waiting)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait_to_be_sent_away()


async def half_open(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("head", [b"", b"GET /healthz HT", b"POST /twilio/voice HTTP/1.1\r\nHost: a\r\n"])
async def test_a_request_that_never_ends_is_closed(serve, monkeypatch, head):
    """However much of its head came."""
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 0.05)
    async with serve() as served:
        reader, writer = await half_open(served.port, head)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_half_open_connections_keep_nobody_out(serve, monkeypatch):
    """With many more of them than places a request is answered at once, and the oldest are closed."""
    monkeypatch.setattr(connections, "WAITING_CONNECTIONS", 8)
    async with serve() as served, httpx.AsyncClient() as client:
        held = [await half_open(served.port, b"GET / HTTP/1.1\r\n") for _ in range(40)]
        assert (await client.get(f"http://127.0.0.1:{served.port}/healthz")).status_code == 200
        for reader, _ in held[:30]:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        for _, writer in held:
            writer.close()


async def test_a_connection_is_kept_for_further_requests(serve, monkeypatch):
    """Answered requests do not count as waiting; the next on the same connection has its time again."""
    monkeypatch.setattr(connections, "WAITING_CONNECTIONS", 1)
    async with serve() as served, httpx.AsyncClient() as first, httpx.AsyncClient() as second:
        for _ in range(3):
            for client in (first, second):
                assert (await client.get(f"http://127.0.0.1:{served.port}/healthz")).status_code == 200
