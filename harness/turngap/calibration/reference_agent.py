"""The reference agent: replies a known time after the caller's last speech frame has arrived, and logs the times.

A process of its own, minimal, no engine: `python -m turngap.calibration.reference_agent --port 0`. The harness tells it
on standard input, before each utterance ends, which frame holds its last labelled sample; it answers on standard output
with what it really did. It measures the instrument, so that it must know the truth and the agent under test must not.

In, one JSON line an utterance: {"call_sid", "turn", "chunk", "delay_ms", "reply_ms", "behaviour"}.
Out: {"event": "ready", "url"} once, then {"call_sid", "turn", "arrival_ns", "sent_ns", "onset_sample"} for each reply.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_SAMPLES, MEDIA_PATH, SAMPLE_RATE, messages, mulaw, parsing
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from turngap.calibration.voice import make_voice
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.caller.priority import raised_priority
from turngap.clock import NS_PER_MS, Clock, SystemClock
from turngap.model.records import Pcm16

VOICES = 16
"""So many voices are made before the first call: to make one takes a millisecond."""
LONGEST_REPLY_SAMPLES = SAMPLE_RATE


class ReplyBehaviour(StrEnum):
    """How it replies: exactly, or with one known fault."""

    EXACT = "exact"
    SILENT_HEAD = "silent_head"
    """Audio at once, but 1.5 s of it silent: a first byte is not an answer."""
    STALL = "stall"
    """Two frames of sound, then nothing for 400 ms: a fast first frame is not a reply."""
    EARLY = "early"
    """Speaks before the caller has finished."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ReplyOrder:
    """How to reply to one utterance."""

    call_sid: str
    turn: int
    chunk: int
    """The number (from 1) of the media message whose arrival starts the delay."""
    delay_ms: float
    reply_ms: float = 400.0
    """Length of the reply's voice."""
    behaviour: ReplyBehaviour = ReplyBehaviour.EXACT

    def to_json(self) -> str:
        """Return the order as a line of its standard input."""
        return json.dumps(asdict(self))


def make_tone(duration_ms: float, frequency_hz: float = 1000.0, level_dbfs: float = -12.0) -> Pcm16:
    """Return a cosine, which is loud from its first sample on, shape (duration_ms * 8,)."""
    peak = 32767 * 10 ** (level_dbfs / 20) * math.sqrt(2)
    time_s = np.arange(round(duration_ms * SAMPLE_RATE / 1000)) / SAMPLE_RATE
    return np.round(peak * np.cos(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it will be sent."""

    pieces: tuple[tuple[float, Pcm16], ...]
    """(ms after the first piece, PCM) each."""
    onset_sample: int
    """The first sample of the voice."""


def make_reply(behaviour: ReplyBehaviour, voice: Pcm16, lead: Pcm16) -> Reply:
    """Return the reply with that voice; `lead` is the line's noise before it."""
    match behaviour:
        case ReplyBehaviour.NEVER:
            return Reply((), 0)
        case ReplyBehaviour.SILENT_HEAD:
            head = np.zeros(12 * SAMPLE_RATE // 8, np.int16)
            return Reply(((0.0, np.concatenate([head, voice])),), len(head))
        case ReplyBehaviour.STALL:
            return Reply(((0.0, voice[: 4 * FRAME_SAMPLES]), (480.0, voice)), 0)
        case _:
            return Reply(((0.0, np.concatenate([lead, voice])),), len(lead))


class ReferenceServer:
    """The agent: a WebSocket handler, and its orders."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._orders: dict[tuple[str, int], ReplyOrder] = {}
        self._replies: set[asyncio.Task[None]] = set()
        self._voices = [make_voice(LONGEST_REPLY_SAMPLES, seed) for seed in range(VOICES)]
        self._noise = make_comfort_noise(FRAME_SAMPLES, "lead")

    def order(self, order: ReplyOrder) -> None:
        """Accept an order, which must arrive before its media message."""
        self._orders[(order.call_sid, order.chunk)] = order

    async def handle(self, socket: ServerConnection) -> None:
        """Handle one call."""
        call_sid = stream_sid = ""
        try:
            async for text in socket:
                arrival_ns = self._clock.now_ns()
                message = parsing.parse_inbound(text)
                if isinstance(message, messages.Start):
                    call_sid, stream_sid = message.call_sid, message.stream_sid
                elif isinstance(message, messages.InboundMedia):
                    order = self._orders.pop((call_sid, message.chunk), None)
                    if order is not None:
                        reply = asyncio.create_task(self._answer(socket, stream_sid, order, arrival_ns))
                        self._replies.add(reply)
                        reply.add_done_callback(self._replies.discard)
                elif isinstance(message, messages.Stop):
                    break
        except ConnectionClosed:
            pass
        except ProtocolError as error:
            print(f"turngap: reference agent: {error}", file=sys.stderr, flush=True)

    async def _answer(self, socket: ServerConnection, stream_sid: str, order: ReplyOrder, arrival_ns: int) -> None:
        first_ns = arrival_ns + round(order.delay_ms * NS_PER_MS)
        sent_ns = 0
        reply = self._make_reply(order)
        try:
            for after_ms, pcm in reply.pieces:
                text = messages.OutboundMedia(stream_sid, mulaw.encode(pcm)).to_json()
                await self._clock.sleep_until_ns(first_ns + round(after_ms * NS_PER_MS))
                stamp_ns = self._clock.now_ns()
                await socket.send(text)
                sent_ns = sent_ns or stamp_ns
            await socket.send(messages.OutboundMark(stream_sid, f"reply-{order.turn}").to_json())
        except ConnectionClosed:
            return
        line = {"call_sid": order.call_sid, "turn": order.turn, "arrival_ns": arrival_ns, "sent_ns": sent_ns}
        print(json.dumps(line | {"onset_sample": reply.onset_sample}), flush=True)

    def _make_reply(self, order: ReplyOrder) -> Reply:
        """Return a reply with one of the voices after 0-20 ms of noise: both by the call and the turn."""
        rng = random.Random(f"{order.call_sid}:{order.turn}")
        voice = rng.choice(self._voices)[: round(order.reply_ms * SAMPLE_RATE / 1000)]
        return make_reply(order.behaviour, voice, self._noise[: rng.randrange(FRAME_SAMPLES)])


def parse_order(line: str) -> ReplyOrder:
    """Parse a line of standard input.

    Raises:
        ProtocolError: it is not an order.
    """
    try:
        data: dict[str, Any] = json.loads(line)
        return ReplyOrder(
            str(data["call_sid"]),
            int(data["turn"]),
            int(data["chunk"]),
            float(data["delay_ms"]),
            float(data.get("reply_ms", 400.0)),
            ReplyBehaviour(data.get("behaviour", ReplyBehaviour.EXACT)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"reference agent: not an order: {line[:80]!r} ({error})") from None


async def _main(host: str, port: int) -> None:
    reference = ReferenceServer()
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with serve(reference.handle, host, port, compression=None, ping_interval=None) as server:
        bound = server.sockets[0].getsockname()[1]
        print(json.dumps({"event": "ready", "url": f"ws://{host}:{bound}{MEDIA_PATH}"}), flush=True)
        while line := await orders.readline():
            reference.order(parse_order(line.decode()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m turngap.calibration.reference_agent", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    with raised_priority():
        asyncio.run(_main(options.host, options.port))


if __name__ == "__main__":
    main()
