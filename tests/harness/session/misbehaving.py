"""An agent that does what public bug reports describe, over a real WebSocket: one class, a field for each misbehaviour.

It sends what it plays in pieces of 20 ms by the tests' fast clock, 200 ms ahead, and answers 200 ms after the caller.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from turngap.calibration.voice import make_voice
from turngap.caller import alaw
from turngap.model.records import Pcm16
from turngap_agent.telephony import mulaw
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.harness.caller.calls import FastClock, Json, loud, media

FRAME = 160
AHEAD_MS = 200
VOICE = make_voice(8000, 5, -15.0)
"""A second of voice that starts and ends at full level."""
Encoder = Callable[[Pcm16], bytes]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Return the bytes in pieces of `size`."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@dataclass
class Misbehaving:
    """The agent; pass `handle` to `calls.call`."""

    voice: Pcm16 = field(default_factory=VOICE.copy)
    encode: Encoder = mulaw.encode
    head: bytes = b""
    """Sent at the start of an answer's first message ..."""
    head_each: bool = False
    """... or of each of its messages."""
    piece: int = 0
    """Bytes of an answer's message; 0: all in one."""
    every_ms: float = 0.0
    """The time from one message to the next."""
    background: Pcm16 | None = None
    """Played all the time, over and over; answers are added to it."""
    repeats: bool = False
    """Sends each message twice."""
    empties: bool = False
    """Sends an empty payload before each message."""
    echoes: bool = False
    """Sends the caller's own frames back."""
    marks: int = 1
    closes: bool = False
    """Closes the socket after its first answer."""
    again_ms: float | None = None
    """Says the same again, so long after the end of an answer."""
    takes_back_ms: float | None = None
    """Sends `clear` so long after an answer began, though nobody speaks."""
    clears: bool = False
    """Sends `clear` when the caller speaks over it ..."""
    after_clear_ms: float = 0.0
    """... and this much of the old audio after that."""
    begins: list[int] = field(default_factory=list)
    """The first sample of each answer in the stream of an agent with a background."""
    _clock: FastClock = field(default_factory=FastClock)
    _queue: list[Pcm16] = field(default_factory=list)

    async def handle(self, socket: ServerConnection, log: list[Json]) -> None:
        """Handle one call."""
        tasks: list[asyncio.Task[None]] = []
        spoke, silent, speaking_until_ns, cleared = False, 0, 0, False
        try:
            async for text in socket:
                message = json.loads(text)
                log.append(message)
                if message["event"] == "start" and self.background is not None:
                    tasks.append(asyncio.create_task(self._play(socket, message)))
                if message["event"] != "media":
                    continue
                if self.echoes:
                    await socket.send(media(message, base64.b64decode(message["media"]["payload"])))
                    continue
                is_loud = loud(message)
                if is_loud and self.clears and not cleared and self._clock.now_ns() < speaking_until_ns:
                    cleared = True
                    await self._clear(socket, message)
                spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
                if spoke and silent == 10:
                    spoke = cleared = False
                    speaking_until_ns = self._clock.now_ns() + len(self.voice) * 125_000
                    tasks.append(asyncio.create_task(self._answer(socket, message)))
        finally:
            for task in tasks:
                task.cancel()

    async def _answer(self, socket: ServerConnection, message: Json) -> None:
        if self.background is not None:
            self._queue.append(self.voice)
            return
        with contextlib.suppress(ConnectionClosed):
            await self._say(socket, message)
            if self.again_ms is not None:
                await self._clock.sleep_ns(round((len(self.voice) / 8 + self.again_ms) * 1e6))
                await self._say(socket, message)
            if self.takes_back_ms is not None:
                await self._clock.sleep_ns(round(self.takes_back_ms * 1e6))
                await socket.send(_event(message, "clear"))
            if self.closes:
                await socket.close()

    async def _say(self, socket: ServerConnection, message: Json) -> None:
        data = self.encode(self.voice)
        pieces = in_pieces(data, self.piece) if self.piece else [data]
        at_ns = self._clock.now_ns()
        for number, piece in enumerate(pieces):
            head = self.head if number == 0 or self.head_each else b""
            if self.empties:
                await socket.send(media(message, b""))
            for _ in range(1 + self.repeats):
                await socket.send(media(message, head + piece))
            if self.every_ms:
                at_ns += round(self.every_ms * 1e6)
                await self._clock.sleep_ns(max(0, at_ns - self._clock.now_ns()))
        for number in range(self.marks):
            await socket.send(_event(message, "mark", mark={"name": f"end {number}"}))

    async def _clear(self, socket: ServerConnection, message: Json) -> None:
        await socket.send(_event(message, "clear"))
        if self.after_clear_ms:
            await socket.send(media(message, mulaw.encode(self.voice[: round(self.after_clear_ms * 8)])))

    async def _play(self, socket: ServerConnection, message: Json) -> None:
        """Play the background, and the answers that are queued, 200 ms ahead of the clock."""
        assert self.background is not None
        started_ns, sent, rest = self._clock.now_ns(), 0, np.empty(0, np.int16)
        with contextlib.suppress(ConnectionClosed):
            while True:
                if self._queue:
                    rest = self._queue.pop(0)
                    self.begins.append(sent)
                frame = self.background.take(np.arange(sent, sent + FRAME), mode="wrap").astype(np.int32)
                said = np.pad(rest[:FRAME], (0, FRAME - len(rest[:FRAME]))).astype(np.int32)
                rest = rest[FRAME:]
                mixed = np.clip(frame + said, -32_000, 32_000).astype(np.int16)
                await socket.send(media(message, mulaw.encode(mixed)))
                sent += FRAME
                due_ns = started_ns + round((sent / 8 - AHEAD_MS) * 1e6)
                await self._clock.sleep_ns(max(0, due_ns - self._clock.now_ns()))


def _event(message: Json, name: str, **body: object) -> str:
    return json.dumps({"event": name, "streamSid": message["streamSid"], **body})


def encode_linear(pcm: Pcm16, *, order: str = "<") -> bytes:
    """Return 16-bit linear PCM."""
    return pcm.astype(f"{order}i2").tobytes()


encode_linear_swapped: Encoder = partial(encode_linear, order=">")


def encode_float(pcm: Pcm16) -> bytes:
    """Return 32-bit floating point of full scale ±1, low byte first."""
    return (pcm / 32_768).astype("<f4").tobytes()


def encode_unsigned(pcm: Pcm16) -> bytes:
    """Return 8-bit linear PCM around 128."""
    return ((pcm.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes()


def encode_signed(pcm: Pcm16) -> bytes:
    """Return 8-bit linear PCM around 0."""
    return (pcm.astype(np.int32) >> 8).astype(np.int8).tobytes()


def encode_two_channels(pcm: Pcm16) -> bytes:
    """Return μ-law of two channels, the second one silent."""
    return mulaw.encode(np.stack([pcm, np.zeros_like(pcm)], axis=1).reshape(-1))


def encode_padded(pcm: Pcm16) -> bytes:
    """Return μ-law in frames of 20 ms of which the last 5 ms are silence: pieces of 15 ms, each filled up."""
    pieces = mulaw.encode(pcm[: len(pcm) // 120 * 120])
    return b"".join(piece + mulaw.SILENCE * 40 for piece in in_pieces(pieces, 120))


def encode_compressed(pcm: Pcm16) -> bytes:
    """Return bytes as random as those of an MP3 stream, as many as μ-law has."""
    return np.random.default_rng(1).bytes(len(pcm))


def encode_alaw(pcm: Pcm16) -> bytes:
    """Return A-law, each sample as the code whose value is nearest."""
    return alaw.encode(pcm)


def riff_header(data_bytes: int) -> bytes:
    """Return the 44-byte header of a WAV file with so much μ-law."""
    size = data_bytes.to_bytes(4, "little")
    fmt = b"fmt " + (16).to_bytes(4, "little") + b"\x07\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00"
    return b"RIFF" + (36 + data_bytes).to_bytes(4, "little") + b"WAVE" + fmt + b"data" + size


def joined(*pieces: Sequence[int] | Pcm16) -> Pcm16:
    """Return sounds one after the other."""
    return np.concatenate([np.asarray(piece, np.int16) for piece in pieces])
