"""Parse Twilio Media Streams messages: text from either side to the classes of `messages`.

An invalid message raises `ProtocolError` with the field's name. Unknown events raise it too, so that the caller decides
what to do with them.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, TypeVar

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony.messages import (
    Clear,
    Connected,
    Dtmf,
    Inbound,
    InboundMark,
    InboundMedia,
    Json,
    Outbound,
    OutboundMark,
    OutboundMedia,
    Start,
    Stop,
)

Kind = TypeVar("Kind", dict[str, Any], list[Any])
_MAX_DIGITS = 18


def parse_inbound(text: str | bytes) -> Inbound:
    """Parse a message from Twilio to the server.

    Raises:
        ProtocolError: it is not a JSON object, its event is unknown, or a field is missing or of the wrong type.
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
                f"unknown event {_quote(event)} from Twilio; expected connected, start, media, dtmf, mark or stop"
            )


def parse_outbound(text: str | bytes) -> Outbound:
    """Parse a message from the server to Twilio.

    Raises:
        ProtocolError: it is not a JSON object, its event is unknown, or a field is missing or of the wrong type.
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
            raise ProtocolError(f"unknown event {_quote(event)} from the agent; expected media, mark or clear")


def _load(text: str | bytes) -> Json:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, not text, or made to break a parser
        raise ProtocolError(f"message is not JSON ({error}): {text[:60]!r}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"message is not a JSON object: {text[:60]!r}")
    return message


def _quote(value: object) -> str:
    """Return a value as an error quotes it: a message may hold 256 KiB, or lists as deep as a parser goes."""
    return (
        repr(value[:60])
        if isinstance(value, str)
        else type(value).__name__
        if isinstance(value, (list, dict))
        else repr(value)[:60]
    )


def _object(message: Json, *path: str) -> Json:
    value: Any = message
    for key in path:
        value = value.get(key)
        if not isinstance(value, dict):
            raise ProtocolError(
                f"{_quote(message.get('event'))} message: `{'.'.join(path)}` is missing or not an object"
            )
    return value  # type: ignore[no-any-return]  # checked to be a dict above


def _optional(message: Json, key: str, kind: type[Kind]) -> Kind:
    value = message.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ProtocolError(f"`{key}` is not a {kind.__name__}: {_quote(value)}")
    return value


def _string(message: Json, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"`{key}` is missing or not a string: {_quote(value)}")
    return value


def _integer(message: Json, key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtocolError(f"`{key}` is missing or not an integer: {_quote(value)}")
    return value


def _number(message: Json, key: str) -> int:
    value = _string(message, key)
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise ProtocolError(f"`{key}` is not a decimal number in a string: {_quote(value)}")
    return int(value)


def _payload(media: Json) -> bytes:
    value = _string(media, "payload")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"`media.payload` is not base64: {value[:30]!r}") from None
