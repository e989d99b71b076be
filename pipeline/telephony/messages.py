"""Twilio Media Streams messages, bidirectional, exactly as they stand on the wire.

`sequenceNumber`, `chunk` and `timestamp` are strings there and ints here. Source: Twilio, "Media Streams - WebSocket
Messages". A message that does not fit raises `ProtocolError` with the field's name; unknown events raise too, so that
the reader decides what to do with them.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.errors import ProtocolError

Json = dict[str, Any]
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a stream."""

    protocol: str = "Call"
    version: str = "1.0.0"

    def to_json(self) -> str:
        """The wire form."""
        return _dump({"event": "connected", "protocol": self.protocol, "version": self.version})


@dataclass(frozen=True, slots=True)
class Start:
    """Who calls and how the audio is coded; sent once, after `connected`."""

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
        """The wire form."""
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
        return _dump(
            {
                "event": "start",
                "sequenceNumber": str(self.sequence_number),
                "start": start,
                "streamSid": self.stream_sid,
            }
        )


@dataclass(frozen=True, slots=True)
class InboundMedia:
    """One piece of the caller's audio, as a rule 20 ms (160 bytes)."""

    stream_sid: str
    sequence_number: int
    chunk: int
    timestamp_ms: int
    payload: bytes
    track: str = "inbound"

    def to_json(self) -> str:
        """The wire form."""
        media = {
            "track": self.track,
            "chunk": str(self.chunk),
            "timestamp": str(self.timestamp_ms),
            "payload": base64.b64encode(self.payload).decode("ascii"),
        }
        return _dump(
            {
                "event": "media",
                "sequenceNumber": str(self.sequence_number),
                "media": media,
                "streamSid": self.stream_sid,
            }
        )


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key the caller pressed."""

    stream_sid: str
    sequence_number: int
    digit: str

    def to_json(self) -> str:
        """The wire form."""
        return _dump(
            {
                "event": "dtmf",
                "streamSid": self.stream_sid,
                "sequenceNumber": str(self.sequence_number),
                "dtmf": {"track": "inbound_track", "digit": self.digit},
            }
        )


@dataclass(frozen=True, slots=True)
class InboundMark:
    """An echo: the audio sent before this mark has played, or was cleared."""

    stream_sid: str
    sequence_number: int
    name: str

    def to_json(self) -> str:
        """The wire form."""
        return _dump(
            {
                "event": "mark",
                "sequenceNumber": str(self.sequence_number),
                "streamSid": self.stream_sid,
                "mark": {"name": self.name},
            }
        )


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream has ended."""

    stream_sid: str
    sequence_number: int
    account_sid: str
    call_sid: str

    def to_json(self) -> str:
        """The wire form."""
        return _dump(
            {
                "event": "stop",
                "sequenceNumber": str(self.sequence_number),
                "streamSid": self.stream_sid,
                "stop": {"accountSid": self.account_sid, "callSid": self.call_sid},
            }
        )


@dataclass(frozen=True, slots=True)
class OutboundMedia:
    """Audio for the caller, of any length; buffered at Twilio and played in order."""

    stream_sid: str
    payload: bytes

    def to_json(self) -> str:
        """The wire form."""
        payload = base64.b64encode(self.payload).decode("ascii")
        return _dump({"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}})


@dataclass(frozen=True, slots=True)
class OutboundMark:
    """Asks for an echo when the audio before it has played."""

    stream_sid: str
    name: str

    def to_json(self) -> str:
        """The wire form."""
        return _dump({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": self.name}})


@dataclass(frozen=True, slots=True)
class Clear:
    """Empties Twilio's playout buffer; pending marks come back."""

    stream_sid: str

    def to_json(self) -> str:
        """The wire form."""
        return _dump({"event": "clear", "streamSid": self.stream_sid})


Kind = TypeVar("Kind", dict[str, Any], list[Any])
Inbound = Connected | Start | InboundMedia | Dtmf | InboundMark | Stop
Outbound = OutboundMedia | OutboundMark | Clear


def parse_inbound(text: str | bytes) -> Inbound:
    """Read a message from Twilio to the server.

    Raises:
        ProtocolError: it is no JSON object, its event is unknown, or a field is missing or of the wrong type.
    """
    message = _load(text)
    match message.get("event"):
        case "connected":
            return Connected(_string(message, "protocol"), _string(message, "version"))
        case "start":
            start, media_format = _object(message, "start"), _object(message, "start", "mediaFormat")
            return Start(
                stream_sid=_string(message, "streamSid"),
                call_sid=_string(start, "callSid"),
                account_sid=_string(start, "accountSid"),
                sequence_number=_number(message, "sequenceNumber"),
                custom_parameters={str(k): str(v) for k, v in _optional(start, "customParameters", dict).items()},
                encoding=_string(media_format, "encoding"),
                sample_rate=_integer(media_format, "sampleRate"),
                channels=_integer(media_format, "channels"),
                tracks=tuple(str(track) for track in _optional(start, "tracks", list)),
            )
        case "media":
            media = _object(message, "media")
            return InboundMedia(
                stream_sid=_string(message, "streamSid"),
                sequence_number=_number(message, "sequenceNumber"),
                chunk=_number(media, "chunk"),
                timestamp_ms=_number(media, "timestamp"),
                payload=_payload(media),
                track=_string(media, "track"),
            )
        case "dtmf":
            return Dtmf(
                _string(message, "streamSid"),
                _number(message, "sequenceNumber"),
                _string(_object(message, "dtmf"), "digit"),
            )
        case "mark":
            return InboundMark(
                _string(message, "streamSid"),
                _number(message, "sequenceNumber"),
                _string(_object(message, "mark"), "name"),
            )
        case "stop":
            stop = _object(message, "stop")
            return Stop(
                _string(message, "streamSid"),
                _number(message, "sequenceNumber"),
                _string(stop, "accountSid"),
                _string(stop, "callSid"),
            )
        case event:
            raise ProtocolError(
                f"unknown event {event!r} from Twilio; expected connected, start, media, dtmf, mark or stop"
            )


def parse_outbound(text: str | bytes) -> Outbound:
    """Read a message from the server to Twilio.

    Raises:
        ProtocolError: it is no JSON object, its event is unknown, or a field is missing or of the wrong type.
    """
    message = _load(text)
    match message.get("event"):
        case "media":
            return OutboundMedia(_string(message, "streamSid"), _payload(_object(message, "media")))
        case "mark":
            return OutboundMark(_string(message, "streamSid"), _string(_object(message, "mark"), "name"))
        case "clear":
            return Clear(_string(message, "streamSid"))
        case event:
            raise ProtocolError(f"unknown event {event!r} from the agent; expected media, mark or clear")


def _dump(message: Json) -> str:
    return json.dumps(message, separators=(",", ":"))


def _load(text: str | bytes) -> Json:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, not text, or made to break a parser
        raise ProtocolError(f"message is not JSON ({error}): {text[:60]!r}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"message is not a JSON object: {text[:60]!r}")
    return message


def _object(message: Json, *path: str) -> Json:
    value: Any = message
    for key in path:
        value = value.get(key)
        if not isinstance(value, dict):
            raise ProtocolError(f"{message.get('event')} message: `{'.'.join(path)}` is missing or no object")
    return value  # type: ignore[no-any-return]  # checked to be a dict above


def _optional(message: Json, key: str, kind: type[Kind]) -> Kind:
    value = message.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ProtocolError(f"`{key}` is no {kind.__name__}: {str(value)[:60]!r}")
    return value


def _string(message: Json, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"`{key}` is missing or no string: {value!r}")
    return value


def _integer(message: Json, key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtocolError(f"`{key}` is missing or no integer: {value!r}")
    return value


def _number(message: Json, key: str) -> int:
    value = _string(message, key)
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise ProtocolError(f"`{key}` is no decimal number in a string: {value!r}")
    return int(value)


def _payload(media: Json) -> bytes:
    value = _string(media, "payload")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"`media.payload` is not base64: {value[:30]!r}") from None
