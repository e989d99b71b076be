"""Agents that send what no agent should: each a handler of one call, for `hostile_agents.py` and the tests.

    python benchmarks/hostile_kinds.py KIND

serves one on a free port, prints its URL, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Handler = Callable[[ServerConnection], Awaitable[None]]
MEBIBYTE = 1024 * 1024
MARKS = 2_000


async def read_stream_sid(socket: ServerConnection) -> str:
    """Return the stream's name, from `start`."""
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "start":
            return str(message["streamSid"])
    return ""


def make_message(event: str, stream_sid: str, **body: Any) -> str:
    """Return a message to the caller."""
    return json.dumps({"event": event, "streamSid": stream_sid, **body})


def make_media(stream_sid: str, samples: int) -> str:
    """Return a message with so many samples of a square wave."""
    payload = base64.b64encode((b"\x10" * 8 + b"\x90" * 8) * (-(-samples // 16))).decode()
    return make_message("media", stream_sid, media={"payload": payload})


async def stay_silent(socket: ServerConnection) -> None:
    """Read the call to its end, and say nothing."""
    async for _ in socket:
        pass


async def send_large(socket: ServerConnection) -> None:
    """One message of 4 MB each second."""
    message = make_media(await read_stream_sid(socket), 3_000_000)
    while True:
        await socket.send(message)
        await asyncio.sleep(1)


async def send_too_large(socket: ServerConnection) -> None:
    """One message of 12 MiB."""
    await socket.send(make_media(await read_stream_sid(socket), 9 * MEBIBYTE))
    await stay_silent(socket)


async def send_endless(socket: ServerConnection) -> None:
    """A frame that says that it has 1 TiB, and its first bytes for as long as they are taken."""
    await read_stream_sid(socket)
    socket.transport.write(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))
    await _pump(socket, b"a" * 65_536)


async def send_flood(socket: ServerConnection) -> None:
    """Frames of 20 ms without a pause."""
    message = make_media(await read_stream_sid(socket), 160)
    while True:
        await socket.send(message)


async def send_marks(socket: ServerConnection) -> None:
    """2,000 marks at a time, twice a second, behind audio that is cleared in between."""
    stream_sid = await read_stream_sid(socket)
    audio, clear = make_media(stream_sid, 16_000), make_message("clear", stream_sid)
    while True:
        await socket.send(audio)
        for number in range(MARKS):
            await socket.send(make_message("mark", stream_sid, mark={"name": str(number)}))
        await asyncio.sleep(0.5)
        await socket.send(clear)


async def send_pings(socket: ServerConnection) -> None:
    """Pings without a pause; each has to be answered."""
    await read_stream_sid(socket)
    await _pump(socket, b"\x89\x04ping" * 4_000)


async def send_empty_frames(socket: ServerConnection) -> None:
    """Empty text messages, two bytes each."""
    await read_stream_sid(socket)
    await _pump(socket, b"\x81\x00" * 8_000)


async def send_deep_json(socket: ServerConnection) -> None:
    """JSON of 1 MB that is all brackets, five times a second."""
    await read_stream_sid(socket)
    while True:
        await socket.send("[" * 1_000_000)
        await asyncio.sleep(0.2)


async def send_wide_json(socket: ServerConnection) -> None:
    """JSON of 1 MB of small objects, five times a second, and of 4 kB, a hundred times."""
    stream_sid = await read_stream_sid(socket)
    wide = make_message("media", stream_sid, media={"payload": ""}, more=[{"a": 1}] * 100_000)
    fits = make_message("media", stream_sid, media={"payload": ""}, more=[{}] * 1_000)
    while True:
        await socket.send(wide)
        for _ in range(20):
            await socket.send(fits)
            await asyncio.sleep(0.01)


async def send_bomb(socket: ServerConnection) -> None:
    """A compressed frame, although no compression was agreed on."""
    await read_stream_sid(socket)
    socket.transport.write(b"\xc1\x7e" + (1000).to_bytes(2, "big") + b"\x00" * 1000)
    await stay_silent(socket)


async def send_unread(socket: ServerConnection) -> None:
    """Audio in real time, in pieces of 37 bytes, from an agent that reads nothing."""
    message = make_media(await read_stream_sid(socket), 37)
    socket.transport.pause_reading()
    while True:
        for _ in range(5):
            await socket.send(message)
        await asyncio.sleep(0.02)


async def _pump(socket: ServerConnection, data: bytes) -> None:
    """Write raw bytes for as long as the other side takes them."""
    while not socket.transport.is_closing():
        if socket.transport.get_write_buffer_size() < MEBIBYTE:
            socket.transport.write(data)
        await asyncio.sleep(0)


KINDS: dict[str, Handler] = {
    "silent": stay_silent,
    "large": send_large,
    "too-large": send_too_large,
    "endless": send_endless,
    "flood": send_flood,
    "marks": send_marks,
    "pings": send_pings,
    "empty-frames": send_empty_frames,
    "deep-json": send_deep_json,
    "wide-json": send_wide_json,
    "bomb": send_bomb,
    "unread": send_unread,
}


async def serve_kind(kind: str) -> None:
    """Serve an agent of that kind until standard input ends."""

    async def handle(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await KINDS[kind](socket)

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve_kind(sys.argv[1]))
