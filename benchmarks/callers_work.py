"""The caller's own work for a message each way, without event loop and kernel: one call on a clock that is moved.

    python benchmarks/callers_work.py

It uses the inside of a call, of this version or of an older one (`PYTHONPATH`), and imports no other benchmark. The
agent sends a message for each of the caller's, and a reply of 1.2 s after each utterance. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import numpy as np
from turngap.caller.call import _Call
from turngap.caller.caller_stream import CallerStream
from turngap.caller.connection import Connection
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, FakeClock
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Turn
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw
from websockets.client import ClientProtocol
from websockets.protocol import Protocol, State
from websockets.uri import parse_uri

FRAMES = 3000
TURNS = 60
ANSWER_SAMPLES = 1600


class NoTransport(asyncio.Transport):
    """Takes what is written, and nothing becomes of it."""

    def write(self, data: object) -> None:
        """Nothing."""

    def is_closing(self) -> bool:
        """Return False."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return 0."""
        return 0

    def resume_reading(self) -> None:
        """Nothing."""


def make_message(stream: str, pcm: Any) -> bytes:
    """Return a media message of the agent's as a frame."""
    payload = base64.b64encode(mulaw.encode(pcm)).decode()
    text = f'{{"event":"media","streamSid":"{stream}","media":{{"payload":"{payload}"}}}}'.encode()
    return bytes((0x81, 126)) + len(text).to_bytes(2, "big") + text


async def measure_work() -> dict[str, float]:
    """Return µs for a frame sent and for a message read."""
    clock = FakeClock()
    scheduler = Scheduler(clock)
    signs = np.random.default_rng(2).choice([-1, 1], 9600)
    clip = Clip("noise", (signs * 4000).astype(np.int16), 0, "hello", 0, 0, "made", True)
    keys = {"say": "hello", "pause_ms": 200, "answer_within_ms": 2000}
    turns = tuple(Turn.model_validate({"id": f"t{index}", **keys}) for index in range(TURNS))
    planned = PlannedCall(0, turns, probe=False)
    call: Any = _Call(planned, {t.key: clip for t in turns}, clock, scheduler, 1, "CA", {}, None, None, "twilio")
    protocol = ClientProtocol(parse_uri("ws://nowhere/"))
    protocol.state, protocol.parser = State.OPEN, Protocol.parse(protocol)
    next(protocol.parser)
    connection: Any = Connection(protocol, clock, call._on_message, call._on_closed)
    connection.connection_made(NoTransport())
    call._stream = CallerStream(connection, call._dialect)
    call._start(call._stream, {})
    send = call._send_frame if hasattr(call, "_send_frame") else call._on_frame
    at = np.arange(60 * FRAME_SAMPLES)
    noise = np.random.default_rng(1).choice([-1.0, 1.0], len(at)) * 5000 * np.abs(np.sin(np.pi * 4 * at / 8000))
    stream = call._names.stream
    reply = [make_message(stream, part) for part in np.split(noise.astype(np.int16), 60)]
    silence = make_message(stream, np.zeros(FRAME_SAMPLES, np.int16))
    due_ns, answered, left = call._started_ns + FRAME_NS, 0, 0
    sent_ns = read_ns = 0
    for frame in range(FRAMES):
        clock.advance_ms((due_ns - clock.now_ns()) / NS_PER_MS)
        began_ns = time.perf_counter_ns()
        send(due_ns)
        sent_ns += time.perf_counter_ns() - began_ns
        scheduler._heap.clear()
        clock.advance_ms(3)
        spoken = call._conversation.spoken
        if len(spoken) > answered and frame * FRAME_SAMPLES > spoken[-1].end_sample + ANSWER_SAMPLES:
            answered, left = len(spoken), len(reply)
        message = reply[-left] if left else silence
        left = max(0, left - 1)
        connection._read_buffer[: len(message)] = message
        began_ns = time.perf_counter_ns()
        connection.buffer_updated(len(message))
        read_ns += time.perf_counter_ns() - began_ns
        due_ns += FRAME_NS
    return {"send_us": sent_ns / FRAMES / 1e3, "read_us": read_ns / FRAMES / 1e3, "turns": answered}


if __name__ == "__main__":
    with raised_priority():
        print(json.dumps(asyncio.run(measure_work())))
