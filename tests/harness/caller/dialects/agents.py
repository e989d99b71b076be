"""A reference agent for each dialect, written from the platforms' documentation and not from our side's code.

It stands where the socket does, on the caller's own clock, and answers a known time after the caller's last loud frame.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, FakeClock
from turngap_agent.telephony import mulaw

Json = dict[str, Any]
REPLY_MS = 400


def make_reply(rate: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A cosine at 1 kHz, loud from its first sample on."""
    return np.round(12_000 * np.cos(2 * np.pi * 1000 * np.arange(rate * REPLY_MS // 1000) / rate)).astype(np.int16)


class ReferenceAgent:
    """Reads the caller's messages and replies once, `delay_ms` after the last loud frame came."""

    def __init__(self, clock: FakeClock, scheduler: Scheduler, delay_ms: int) -> None:
        self._clock, self._scheduler, self._delay_ns = clock, scheduler, delay_ms * NS_PER_MS
        self._on_message: Callable[[str | bytes, int], None] | None = None
        self.log: list[Json] = []
        self.frames: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self.read_ns: list[int] = []
        self.sent_ns: int | None = None
        self.unsent_bytes = 0
        self._was_loud = False

    async def open(self, *_: object, on_message: Callable[[str | bytes, int], None], **__: object) -> ReferenceAgent:
        self._on_message = on_message
        return self

    async def close(self) -> None:
        pass

    def send(self, message: str | bytes) -> None:
        """What the caller sends."""
        pcm = self.read_audio(message)
        if pcm is None:
            assert isinstance(message, str)
            self.log.append(json.loads(message))
            return
        self.frames.append(pcm)
        self.read_ns.append(self._clock.now_ns())
        is_loud = bool(np.abs(pcm.astype(int)).max() > 2000)
        if self._was_loud and not is_loud and self.sent_ns is None:
            self.sent_ns = self.read_ns[-2] + self._delay_ns
            self._scheduler.call_at(self.sent_ns, self._reply)
        self._was_loud = is_loud

    def _reply(self, at_ns: int) -> None:
        for message in (*self.write_reply(), self.write_mark("end")):
            self.write(message, at_ns)

    def write(self, message: str | bytes, at_ns: int) -> None:
        """Send a message to the caller."""
        assert self._on_message is not None
        self._on_message(message, at_ns)

    def read_audio(self, message: str | bytes) -> np.ndarray[Any, np.dtype[np.int16]] | None:
        """The audio in a message; None if it has none."""
        raise NotImplementedError

    def write_reply(self) -> list[str | bytes]:
        """The reply's messages."""
        raise NotImplementedError

    def write_mark(self, name: str) -> str:
        """A request for word that the audio before it has played."""
        raise NotImplementedError

    def write_clear(self) -> str:
        """A request to stop playing."""
        raise NotImplementedError


class JsonAgent(ReferenceAgent):
    """μ-law as base64 in JSON, as Twilio, Telnyx and Plivo have it."""

    def read_audio(self, message: str | bytes) -> np.ndarray[Any, np.dtype[np.int16]] | None:
        assert isinstance(message, str)
        parsed = json.loads(message)
        return mulaw.decode(base64.b64decode(parsed["media"]["payload"])) if parsed["event"] == "media" else None


def encode_mulaw() -> str:
    return base64.b64encode(mulaw.encode(make_reply(8000))).decode()


class TwilioAgent(JsonAgent):
    """Names the stream in each message."""

    def write_reply(self) -> list[str | bytes]:
        return [json.dumps({"event": "media", "streamSid": self.stream, "media": {"payload": encode_mulaw()}})]

    def write_mark(self, name: str) -> str:
        return json.dumps({"event": "mark", "streamSid": self.stream, "mark": {"name": name}})

    def write_clear(self) -> str:
        return json.dumps({"event": "clear", "streamSid": self.stream})

    @property
    def stream(self) -> str:
        return str(self.log[1]["start"]["streamSid"])


class TelnyxAgent(JsonAgent):
    """Leaves the stream's name out, as it may."""

    def write_reply(self) -> list[str | bytes]:
        return [json.dumps({"event": "media", "media": {"payload": encode_mulaw()}})]

    def write_mark(self, name: str) -> str:
        return json.dumps({"event": "mark", "mark": {"name": name}})

    def write_clear(self) -> str:
        return json.dumps({"event": "clear"})


class PlivoAgent(JsonAgent):
    """Replies with 16-bit PCM at 16 kHz, as its `playAudio` may."""

    def write_reply(self) -> list[str | bytes]:
        payload = base64.b64encode(make_reply(16000).astype("<i2").tobytes()).decode()
        media = {"contentType": "audio/x-l16", "sampleRate": 16000, "payload": payload}
        return [json.dumps({"event": "playAudio", "media": media})]

    def write_mark(self, name: str) -> str:
        return json.dumps({"event": "checkpoint", "streamId": self.log[0]["start"]["streamId"], "name": name})

    def write_clear(self) -> str:
        return json.dumps({"event": "clearAudio", "streamId": self.log[0]["start"]["streamId"]})


class VonageAgent(ReferenceAgent):
    """Binary messages of 20 ms, at the rate of `websocket:connected`."""

    @property
    def rate(self) -> int:
        return int(str(self.log[0]["content-type"]).partition("rate=")[2])

    def read_audio(self, message: str | bytes) -> np.ndarray[Any, np.dtype[np.int16]] | None:
        if isinstance(message, str):
            return None
        assert len(message) == 2 * self.rate // 50
        return np.frombuffer(message, "<i2")

    def write_reply(self) -> list[str | bytes]:
        data, size = make_reply(self.rate).astype("<i2").tobytes(), 2 * self.rate // 50
        return [data[at : at + size] for at in range(0, len(data), size)]

    def write_mark(self, name: str) -> str:
        return json.dumps({"action": "notify", "payload": {"name": name}})

    def write_clear(self) -> str:
        return json.dumps({"action": "clear"})


AGENTS: dict[str, type[ReferenceAgent]] = {
    "twilio": TwilioAgent,
    "telnyx": TelnyxAgent,
    "plivo": PlivoAgent,
    "vonage": VonageAgent,
    "vonage-8khz": VonageAgent,
}
