"""Twilio Media Streams messages in both directions, exactly as on the wire.

`sequenceNumber`, `chunk` and `timestamp` are strings on the wire and ints here. Source: Twilio, "Media Streams -
WebSocket Messages". `parsing` parses them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a stream."""

    protocol: str = "Call"
    version: str = "1.0.0"

    def to_json(self) -> str:
        """Return the wire form."""
        return _dump({"event": "connected", "protocol": self.protocol, "version": self.version})


@dataclass(frozen=True, slots=True)
class Start:
    """Who calls and how the audio is encoded; sent once, after `connected`."""

    stream_sid: str
    call_sid: str
    account_sid: str
    sequence_number: int = 1
    custom_parameters: dict[str, str] = field(default_factory=dict)
    encoding: str = "audio/x-mulaw"
    sample_rate: int = 8000
    channels: int = 1
    tracks: tuple[str, ...] = ("inbound",)

    def to_json(self) -> str:
        """Return the wire form."""
        start = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": list(self.tracks),
            "mediaFormat": {
                "encoding": self.encoding,
                "sampleRate": self.sample_rate,
                "channels": self.channels,
            },
            "customParameters": self.custom_parameters,
        }
        return _numbered("start", self, start)


@dataclass(frozen=True, slots=True)
class InboundMedia:
    """One piece of the caller's audio, usually 20 ms (160 bytes)."""

    stream_sid: str
    sequence_number: int
    chunk: int
    timestamp_ms: int
    payload: bytes
    track: str = "inbound"

    def to_json(self) -> str:
        """Return the wire form."""
        media = {
            "track": self.track,
            "chunk": str(self.chunk),
            "timestamp": str(self.timestamp_ms),
            "payload": base64.b64encode(self.payload).decode("ascii"),
        }
        return _numbered("media", self, media)


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key the caller pressed."""

    stream_sid: str
    sequence_number: int
    digit: str

    def to_json(self) -> str:
        """Return the wire form."""
        return _numbered("dtmf", self, {"track": "inbound_track", "digit": self.digit})


@dataclass(frozen=True, slots=True)
class InboundMark:
    """An echo: the audio sent before this mark has played, or was cleared."""

    stream_sid: str
    sequence_number: int
    name: str

    def to_json(self) -> str:
        """Return the wire form."""
        return _numbered("mark", self, {"name": self.name})


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream has ended."""

    stream_sid: str
    sequence_number: int
    account_sid: str
    call_sid: str

    def to_json(self) -> str:
        """Return the wire form."""
        return _numbered("stop", self, {"accountSid": self.account_sid, "callSid": self.call_sid})


@dataclass(frozen=True, slots=True)
class OutboundMedia:
    """Audio for the caller, of any length; buffered at Twilio and played in order."""

    stream_sid: str
    payload: bytes

    def to_json(self) -> str:
        """Return the wire form."""
        payload = base64.b64encode(self.payload).decode("ascii")
        return _dump({"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}})


@dataclass(frozen=True, slots=True)
class OutboundMark:
    """Asks for an echo when the audio before it has played."""

    stream_sid: str
    name: str

    def to_json(self) -> str:
        """Return the wire form."""
        return _dump({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": self.name}})


@dataclass(frozen=True, slots=True)
class Clear:
    """Empties Twilio's playout buffer; pending marks come back."""

    stream_sid: str

    def to_json(self) -> str:
        """Return the wire form."""
        return _dump({"event": "clear", "streamSid": self.stream_sid})


Inbound = Connected | Start | InboundMedia | Dtmf | InboundMark | Stop
Outbound = OutboundMedia | OutboundMark | Clear


def _numbered(event: str, message: Start | InboundMedia | Dtmf | InboundMark | Stop, body: Json) -> str:
    number = str(message.sequence_number)
    return _dump({"event": event, "sequenceNumber": number, event: body, "streamSid": message.stream_sid})


def _dump(message: Json) -> str:
    return json.dumps(message, separators=(",", ":"))
