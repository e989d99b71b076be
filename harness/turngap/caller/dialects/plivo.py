"""Plivo audio streaming, bidirectional, `audio/x-mulaw;rate=8000` towards the agent.

Source: https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference. Each `playAudio`
names its own format. A checkpoint whose audio was cleared is never answered. No message ends the stream: the socket is
closed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import cast

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, SAMPLE_RATE

from turngap.caller.dialects import AgentAudio, AgentClear, AgentEvent, AgentMark, StreamNames, Wire
from turngap.caller.dialects.audio import MULAW, AudioFormat, Rate
from turngap.caller.dialects.audio_template import AudioTemplate
from turngap.caller.dialects.json_messages import (
    Json,
    dump_message,
    load_stream_message,
    read_object,
    read_payload,
    read_string,
)
from turngap.caller.long_message import AnyMessage
from turngap.caller.playout import MAX_BUFFERED_NS

_RATES = {"audio/x-mulaw": (8000,), "audio/x-l16": (8000, 16000)}


class PlivoDialect:
    """Plivo's side of one stream. `sequenceNumber` and `chunk` are numbers, `timestamp` a string: Unix time in ms."""

    name = "plivo"
    platform = "Plivo"
    max_buffered_ns = MAX_BUFFERED_NS
    echoes_cleared_marks = False

    def __init__(self, names: StreamNames) -> None:
        self._names = names
        self._template = AudioTemplate()
        self._headers = ""
        self._sequence = 0
        self.chunk = 0

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """`start`; the parameters are `extra_headers`."""
        self._headers = ";".join(f"{name}={value}" for name, value in parameters.items())
        start = {
            "callId": self._names.call,
            "streamId": self._names.stream,
            "accountId": self._names.account,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE},
        }
        return (self._numbered("start", {"start": start, "extra_headers": self._headers}),)

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """`media`."""
        self.chunk += 1
        media = {
            "track": "inbound",
            "timestamp": str(self._names.unix_ms + frame * FRAME_MS),
            "chunk": self.chunk,
            "payload": base64.b64encode(payload).decode("ascii"),
        }
        body = {"streamId": self._names.stream, "media": media, "extra_headers": self._headers}
        return self._numbered("media", body)

    def key_message(self, digit: str) -> Wire:
        """`dtmf`."""
        return self._numbered("dtmf", {"streamId": self._names.stream, "dtmf": {"track": "inbound", "digit": digit}})

    def mark_message(self, name: str) -> Wire:
        """`playedStream`, the answer to a `checkpoint`."""
        return self._numbered("playedStream", {"streamId": self._names.stream, "name": name})

    def cleared_messages(self) -> Sequence[Wire]:
        """`clearedAudio`."""
        return (self._numbered("clearedAudio", {"streamId": self._names.stream}),)

    def stop_messages(self) -> Sequence[Wire]:
        """Nothing."""
        return ()

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """The audio of a `playAudio` of μ-law like one before it."""
        return self._template.read(message)

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """`playAudio`, `checkpoint` and `clearAudio`; `playAudio` may leave `streamId` out."""
        parsed = load_stream_message(message, "Plivo", "streamId", self._names.stream)
        match parsed.get("event"):
            case "playAudio":
                audio = _parse_audio(parsed)
                if audio.format == MULAW:
                    self._template.learn(message, audio.payload)
                return audio, ()
            case "checkpoint":
                return AgentMark(read_string(parsed, "name")), ()
            case "clearAudio":
                return AgentClear(), ()
            case event:
                raise ProtocolError(
                    f"unknown event {str(event)[:60]!r} from the agent; expected playAudio, checkpoint or clearAudio"
                )

    def _numbered(self, event: str, body: Mapping[str, object]) -> str:
        self._sequence += 1
        return dump_message({"event": event, "sequenceNumber": self._sequence, **body})


def _parse_audio(message: Json) -> AgentAudio:
    media = read_object(message, "media")
    content = read_string(media, "contentType").partition(";")[0].strip()
    rate = media.get("sampleRate")
    if isinstance(rate, str) and rate.isascii() and rate.isdigit() and len(rate) < 7:
        rate = int(rate)
    if content not in _RATES or rate not in _RATES[content]:
        takes = "audio/x-mulaw at 8000, audio/x-l16 at 8000 or 16000"
        raise ProtocolError(f"playAudio of {content[:40]!r} at {str(rate)[:20]} Hz; Plivo takes {takes}")
    coded = AudioFormat("mulaw" if content == "audio/x-mulaw" else "l16", cast(Rate, rate))
    return AgentAudio(read_payload(message), coded)
