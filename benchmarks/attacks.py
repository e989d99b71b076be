"""Callers that mean no good, as one process: attacks an agent from the first line on stdin until stdin is closed.

python -m benchmarks.attacks ws://127.0.0.1:8080/twilio/media malformed|flood|half-open|crowd [--at-once 4]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from urllib.parse import urlsplit

import websockets
from turngap_agent.telephony.messages import Connected, InboundMark, InboundMedia, Start
from turngap_agent.telephony.parsing import parse_outbound
from websockets.asyncio.client import ClientConnection

Count = Counter[str]
FRAME = b"\xff" * 160
BURST = 500
"""Messages that a socket sends before it is given up."""
HELD = 2500
"""Half-open sockets that each attacker holds, where the machine allows so many descriptors; four hold 10,000."""
DESCRIPTORS = 10_240
_GONE = (OSError, websockets.WebSocketException)


def make_malformed(seed: int) -> Iterator[str | bytes]:
    """Yield messages that no caller sends, without end: types, sizes, base64, order, unknown streams, binary."""
    chance = random.Random(seed)
    media = InboundMedia("MZ1", 1, 1, 0, FRAME).to_json()
    plain = json.loads(media)
    while True:
        broken = json.loads(media)
        broken["media"][chance.choice(list(broken["media"]))] = chance.choice(
            [None, -1, 2**63, "", "%%%", [], {}, True, 1e308, "A" * chance.randrange(4000)]
        )
        renamed = {**plain, chance.choice(["event", "streamSid", "sequenceNumber"]): chance.choice([None, 7, "x", {}])}
        cut = media[: chance.randrange(len(media))]
        yield from (
            json.dumps(broken),
            json.dumps(renamed),
            cut,
            chance.randbytes(chance.randrange(2000)),
            '{"a":' * chance.randrange(1, 5000),
            json.dumps({"event": "media", "streamSid": "MZ0", "media": {"payload": "A" * 200_000}}),
            InboundMark("MZ1", 1, "never sent").to_json(),
            Start("MZ1", "CA1", "AC1").to_json(),
            json.dumps({"event": "stop", "streamSid": "MZ0"}),
            InboundMedia("MZ1", 1, chance.randrange(10**9), chance.randrange(10**9), FRAME).to_json(),
            json.dumps({"event": "media", "media": {"payload": base64.b64encode(FRAME).decode()[:-1]}}),
            "\x00" * 300,
        )


async def send_malformed(url: str, seed: int, count: Count) -> None:
    """Send malformed messages on one socket after another; each ends by a close, a broken line or a half-close."""
    messages = make_malformed(seed)
    for number in itertools.count():
        with contextlib.suppress(*_GONE):
            async with websockets.connect(url, compression=None, max_queue=4) as socket:
                count["sockets"] += 1
                if number % 4:
                    await socket.send(Connected().to_json())
                    await socket.send(Start("MZ1", "CA1", "AC1").to_json())
                for message in itertools.islice(messages, BURST):
                    await socket.send(message)
                    count["messages"] += 1
                if number % 3 == 0:
                    socket.transport.abort()
        await asyncio.sleep(0.01)


async def send_flood(url: str, seed: int, count: Count) -> None:
    """Send audio at 50 times real time, on a new socket when the last was closed; read nothing that comes."""
    for number in itertools.count(seed):
        with contextlib.suppress(*_GONE):
            async with websockets.connect(url, compression=None, max_queue=4) as socket:
                count["sockets"] += 1
                sid = f"MZ{number}"
                await socket.send(Start(sid, "CA1", "AC1").to_json())
                for at in itertools.count(1):
                    await socket.send(InboundMedia(sid, at + 1, at, 20 * at, FRAME).to_json())
                    count["messages"] += 1
                    if at % 10 == 0:
                        await asyncio.sleep(0.004)
        await asyncio.sleep(0.01)


async def hold_half_open(url: str, seed: int, count: Count) -> None:
    """Open connections that send half a request, and hold the last of them."""
    place = urlsplit(url)
    held: list[asyncio.StreamWriter] = []
    try:
        while True:
            if len(held) >= HELD:
                held.pop(0).close()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.write(b"GET /twilio/media HTTP/1.1\r\nHost: a\r\n")
                held.append(writer)
                count["sockets"] += 1
            await asyncio.sleep(0.002)
    finally:
        for writer in held:
            writer.close()


async def call_in_a_crowd(url: str, seed: int, count: Count) -> None:
    """Call, listen to what is said to a caller without room, and call again."""
    for number in itertools.count():
        with contextlib.suppress(OSError, websockets.InvalidHandshake):
            async with websockets.connect(url, compression=None) as socket:
                count["calls"] += 1
                count[await _hear_refusal(socket, f"MZ{seed}-{number}")] += 1
        await asyncio.sleep(0.5)


async def _hear_refusal(socket: ClientConnection, sid: str) -> str:
    """Return how the call ended: "told why", "silent", or "admitted", in which case it hangs up."""
    await socket.send(Connected().to_json())
    await socket.send(Start(sid, "CA1", "AC1").to_json())
    heard = 0
    try:
        async with asyncio.timeout(2):
            while True:
                message = parse_outbound(await socket.recv())
                heard += len(getattr(message, "payload", b""))
                if (name := getattr(message, "name", None)) is not None:
                    await socket.send(InboundMark(sid, 1, name).to_json())
    except TimeoutError:
        return "admitted"
    except websockets.ConnectionClosed as closed:
        return "told why" if heard and closed.rcvd is not None and closed.rcvd.code == 1013 else "silent"


ATTACKS: dict[str, Callable[[str, int, Count], Coroutine[None, None, None]]] = {
    "malformed": send_malformed,
    "flood": send_flood,
    "half-open": hold_half_open,
    "crowd": call_in_a_crowd,
}


async def attack(url: str, kind: str, at_once: int) -> Count:
    """Attack from a line on stdin until stdin is closed; return the counts."""
    count: Count = Counter()
    await asyncio.to_thread(sys.stdin.readline)
    tasks = [asyncio.create_task(ATTACKS[kind](url, seed, count)) for seed in range(at_once)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(error, Exception):
            raise error
    return count


def main() -> int:
    """Attack, and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("kind", choices=sorted(ATTACKS))
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    print(json.dumps(asyncio.run(attack(options.url, options.kind, options.at_once))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
