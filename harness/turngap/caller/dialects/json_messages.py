"""JSON messages of an agent, parsed in bounded time: the long base64 text in one is cut out before it is parsed.

JSON of a megabyte that consists of small objects takes a parser tens of milliseconds, in one step. No platform's
message has more than a few hundred bytes beside its audio.
"""

from __future__ import annotations

import json
import re
from typing import Any

from turngap_agent.errors import ProtocolError

from turngap.caller.long_message import AnyMessage, LongMessage, is_text

MAX_JSON_CHARS = 4 * 1024
"""The longest JSON beside the audio: parsed in 0.1 ms at worst."""
PAYLOAD_KEY = '"payload"'
PAYLOAD_BEGIN = re.compile(r'"payload"\s{0,16}:\s{0,16}"')
_COMPACT = json.JSONEncoder(separators=(",", ":"))
Json = dict[str, Any]


def load_message(text: str | LongMessage[str]) -> Json:
    """Return a message; the first `payload` in a long one is found without parsing it.

    Raises:
        ProtocolError: it is not a JSON object, or has too much beside its audio.
    """
    payload: str | LongMessage[str] | None = None
    if isinstance(text, LongMessage):
        text, payload = _cut_long_payload(text)
    elif len(text) > MAX_JSON_CHARS:
        text, payload = _cut_payload(text)
    if len(text) > MAX_JSON_CHARS:
        raise ProtocolError(
            f"{len(text) / 1024:.0f} KiB of JSON beside the audio; the longest that is parsed is "
            f"{MAX_JSON_CHARS // 1024} KiB: {text[:60]!r}"
        )
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, not text, or made to break a parser
        raise ProtocolError(f"message is not JSON ({error}): {text[:60]!r}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"message is not a JSON object: {text[:60]!r}")
    if payload is not None:
        media = read_object(message, "media")
        if media.get("payload") != "":
            raise ProtocolError(f"{message.get('event')} message: its long `payload` is not `media.payload`")
        media["payload"] = payload
    return message


def load_stream_message(message: AnyMessage, platform: str, stream_key: str, stream: str) -> Json:
    """Return a message for the stream `stream`; one that leaves its `stream_key` out is for it too.

    Raises:
        ProtocolError: it is binary, malformed, or for another stream.
    """
    if not is_text(message):
        raise ProtocolError(f"a binary frame; {platform} takes text frames only")
    parsed = load_message(message)
    given = parsed.get(stream_key, stream)
    if given != stream:
        raise ProtocolError(f"a message for stream {str(given)[:60]!r}; this one is {stream!r}")
    return parsed


def describe_unknown_event(event: object) -> str:
    """Return the line on an event that an agent of Twilio's or Telnyx's cannot send."""
    keys = "; keys that the agent presses have to be tones in its audio" if event == "dtmf" else ""
    return f"unknown event {str(event)[:60]!r} from the agent; expected media, mark or clear{keys}"


def dump_message(message: object) -> str:
    """Return the wire form of a message."""
    return _COMPACT.encode(message)


def read_object(message: Json, key: str) -> Json:
    """Return an object in the message.

    Raises:
        ProtocolError: it is missing, or no object.
    """
    value = message.get(key)
    if not isinstance(value, dict):
        raise ProtocolError(f"{message.get('event')} message: `{key}` is missing or not an object")
    return value


def read_string(message: Json, key: str) -> str:
    """Return a text in the message.

    Raises:
        ProtocolError: it is missing, or no text.
    """
    value = message.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"`{key}` is missing or not a string: {str(value)[:60]}")
    return value


def read_payload(message: Json) -> str | LongMessage[str]:
    """Return the payload of a message's `media`.

    Raises:
        ProtocolError: it is missing, or no text.
    """
    media = read_object(message, "media")
    payload = media.get("payload")
    return payload if isinstance(payload, LongMessage) else read_string(media, "payload")


def _cut_payload(text: str) -> tuple[str, str | None]:
    """Return the message with an empty payload, and the payload."""
    at = text.find(PAYLOAD_KEY)
    begin = PAYLOAD_BEGIN.match(text, at) if at >= 0 else None
    end = text.find('"', begin.end()) if begin is not None else -1
    if begin is None or end < 0:
        return text, None
    payload = text[begin.end() : end]
    if "\\" in payload:  # PHP's json_encode writes "\/" for "/"
        payload = payload.replace("\\/", "/")
    return text[: begin.end()] + text[end:], payload


def _cut_long_payload(text: LongMessage[str]) -> tuple[str, LongMessage[str]]:
    """Do the same with a message in parts; the payload has to start in its first part."""
    first = text.parts[0]
    at = first.find(PAYLOAD_KEY)
    begin = PAYLOAD_BEGIN.match(first, at) if at >= 0 else None
    if begin is None:
        raise ProtocolError(f"{len(text) / 1024:.0f} KiB of JSON without audio at its beginning: {first[:60]!r}")
    parts = [first[begin.end() :], *text.parts[1:]]
    for index, part in enumerate(parts):
        end = part.find('"')
        if end >= 0:
            rest = "".join([part[end:], *parts[index + 1 : index + 4]])  # more of it is refused by its length
            return first[: begin.end()] + rest, LongMessage([*parts[:index], part[:end]])
    raise ProtocolError(f"message is not JSON (its payload has no end): {first[:60]!r}")
