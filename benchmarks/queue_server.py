"""An agent whose capacity is known: a token bucket of a known rate and a queue of a known length; it can stall once.

    python -m benchmarks.queue_server --rate 5.13 --reply FILE.wav [--queue 1000] [--stall-after 20 --stall-s 3]

It notices the end of speech after 200 ms of silence. Each turn then takes a token; tokens come at `--rate` a second,
and none is saved up. With its token a turn is answered at once. A turn that finds more than `--queue` others waiting is
not answered at all. A stall holds everything up, as a blocked event loop does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal
from turngap_agent.clock import now_ns
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import MEDIA_PATH, SAMPLE_RATE, messages, mulaw, parsing
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

LOUD = 300
"""A frame is speech if its loudest sample is above this."""
SILENT_FRAMES = 10
"""200 ms."""


@dataclass(slots=True)
class TokenBucket:
    """Who waits for how long: the whole of the server's capacity. Pure."""

    rate_per_s: float
    queue: int
    _next_s: float = 0.0

    def take(self, at_s: float) -> float | None:
        """Return when a turn that ends at `at_s` gets its token; None if too many wait already."""
        if (self._next_s - at_s) * self.rate_per_s > self.queue:
            return None
        token_s = max(at_s, self._next_s)
        self._next_s = token_s + 1 / self.rate_per_s
        return token_s


@dataclass(slots=True)
class QueueServer:
    """The agent."""

    bucket: TokenBucket
    reply: bytes
    """What it answers, 8 kHz μ-law. With a mark after it, 1.2 s of sound are taken for content."""
    stall_after: int = 0
    """Stall once after so many turns; 0: never."""
    stall_s: float = 3.0
    _turns: int = 0
    _replies: set[asyncio.Task[None]] = field(default_factory=set)

    async def handle(self, socket: ServerConnection) -> None:
        """Handle one call."""
        stream_sid, spoke, silent = "", False, 0
        try:
            async for text in socket:
                message = parsing.parse_inbound(text)
                if isinstance(message, messages.Start):
                    stream_sid = message.stream_sid
                elif isinstance(message, messages.InboundMedia):
                    loud = bool(np.abs(mulaw.decode(message.payload).astype(int)).max(initial=0) > LOUD)
                    spoke, silent = spoke or loud, 0 if loud else silent + 1
                    if spoke and silent == SILENT_FRAMES:
                        spoke = False
                        self._take_turn(socket, stream_sid)
                elif isinstance(message, messages.Stop):
                    break
        except ConnectionClosed:
            pass
        except ProtocolError as error:
            print(f"queue server: {error}", file=sys.stderr, flush=True)

    def _take_turn(self, socket: ServerConnection, stream_sid: str) -> None:
        self._turns += 1
        if self._turns == self.stall_after:
            time.sleep(self.stall_s)  # the whole loop stands, as it is meant to
        token_s = self.bucket.take(now_ns() / 1e9)
        if token_s is None:
            return
        reply = asyncio.create_task(self._answer(socket, stream_sid, token_s))
        self._replies.add(reply)
        reply.add_done_callback(self._replies.discard)

    async def _answer(self, socket: ServerConnection, stream_sid: str, token_s: float) -> None:
        await asyncio.sleep(max(0.0, token_s - now_ns() / 1e9))
        try:
            await socket.send(messages.OutboundMedia(stream_sid, self.reply).to_json())
            await socket.send(messages.OutboundMark(stream_sid, "reply").to_json())
        except ConnectionClosed:
            return


def read_reply(file: Path) -> bytes:
    """Return a recording as 8 kHz μ-law."""
    pcm, rate = soundfile.read(file, dtype="float64", always_2d=True)
    narrow = signal.resample_poly(pcm[:, 0], SAMPLE_RATE, rate)
    return mulaw.encode(np.round(np.clip(narrow, -1, 1) * 32_000).astype(np.int16))


async def run_server(server: QueueServer) -> None:
    """Serve on a free port until stdin ends; print the URL as the ready line."""
    async with serve(server.handle, "127.0.0.1", 0, compression=None, process_request=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        print(json.dumps({"event": "ready", "url": f"ws://127.0.0.1:{port}{MEDIA_PATH}"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, required=True, help="tokens a second")
    parser.add_argument("--reply", type=Path, required=True, help="a recording of what it answers, over 1.2 s")
    parser.add_argument("--queue", type=int, default=1000, help="turns that may wait")
    parser.add_argument("--stall-after", type=int, default=0, help="stall once after so many turns")
    parser.add_argument("--stall-s", type=float, default=3.0, help="for so long")
    options = parser.parse_args()
    bucket = TokenBucket(options.rate, options.queue)
    asyncio.run(run_server(QueueServer(bucket, read_reply(options.reply), options.stall_after, options.stall_s)))


if __name__ == "__main__":
    main()
