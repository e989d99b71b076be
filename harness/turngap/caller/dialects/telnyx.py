"""Telnyx media streaming over WebSockets, bidirectional mode `rtp` with PCMU.

Source: https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket. Media from the agent
may hold 20 ms to 30 s. What happens to the marks of cleared audio is not documented; as in Twilio's format, which
Telnyx's follows, they come back.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE

from turngap.caller.dialects import AgentAudio, AgentClear, AgentEvent, AgentMark, StreamNames, Wire
from turngap.caller.dialects.audio import MULAW
from turngap.caller.dialects.audio_template import AudioTemplate
from turngap.caller.dialects.json_messages import (
    Json,
    describe_unknown_event,
    dump_message,
    load_stream_message,
    read_object,
    read_payload,
    read_string,
)
from turngap.caller.long_message import AnyMessage
from turngap.caller.playout import MAX_BUFFERED_NS

_LONGEST_S = 30


class TelnyxDialect:
    """Telnyx's side of one stream. `sequence_number`, `chunk` and `timestamp` are strings on the wire."""

    name = "telnyx"
    platform = "Telnyx"
    max_buffered_ns = MAX_BUFFERED_NS
    echoes_cleared_marks = True

    def __init__(self, names: StreamNames) -> None:
        self._names = names
        self._template = AudioTemplate()
        self._sequence = 0
        self.chunk = 0

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """`connected` and `start`."""
        start = {
            "user_id": self._names.account,
            "call_control_id": self._names.call,
            "call_session_id": self._names.call,
            "custom_parameters": dict(parameters),
            "media_format": {"encoding": "PCMU", "sample_rate": SAMPLE_RATE, "channels": 1},
        }
        return dump_message({"event": "connected", "version": "1.0.0"}), self._numbered("start", start)

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """`media`; its timestamp counts from the stream's start."""
        self.chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self.chunk),
            "timestamp": str(self._names.first_timestamp_ms + frame * FRAME_MS),
            "payload": base64.b64encode(payload).decode("ascii"),
        }
        return self._numbered("media", media)

    def key_message(self, digit: str) -> Wire:
        """`dtmf`."""
        return self._numbered("dtmf", {"digit": digit})

    def mark_message(self, name: str) -> Wire:
        """`mark`."""
        return self._numbered("mark", {"name": name})

    def cleared_messages(self) -> Sequence[Wire]:
        """Nothing: the marks come back."""
        return ()

    def stop_messages(self) -> Sequence[Wire]:
        """`stop`."""
        return (self._numbered("stop", {"user_id": self._names.account, "call_control_id": self._names.call}),)

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """The audio of a `media` like one before it, unless it is so short that Telnyx would not take it."""
        audio = self._template.read(message)
        return None if audio is None or len(audio) < FRAME_SAMPLES else audio

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """`media`, `mark` and `clear`; their `stream_id` may be left out."""
        parsed = load_stream_message(message, "Telnyx", "stream_id", self._names.stream)
        match parsed.get("event"):
            case "media":
                audio, warnings = self._parse_media(parsed)
                self._template.learn(message, audio.payload)
                return audio, warnings
            case "mark":
                return AgentMark(read_string(read_object(parsed, "mark"), "name")), ()
            case "clear":
                return AgentClear(), ()
            case event:
                raise ProtocolError(describe_unknown_event(event))

    def _parse_media(self, message: Json) -> tuple[AgentAudio, Sequence[tuple[str, str]]]:
        payload = read_payload(message)
        samples = len(payload) * 3 // 4
        warnings = []
        if samples > _LONGEST_S * SAMPLE_RATE:
            warnings = [("long", f"a message of {samples / SAMPLE_RATE:.0f} s of audio; Telnyx takes 30 s at most")]
        elif samples < FRAME_SAMPLES:
            warnings = [("short", f"a message of {samples * 1000 // SAMPLE_RATE} ms; Telnyx takes 20 ms at least")]
        return AgentAudio(payload, MULAW), warnings

    def _numbered(self, event: str, body: Mapping[str, object]) -> str:
        self._sequence += 1
        return dump_message(
            {
                "event": event,
                "sequence_number": str(self._sequence),
                event: body,
                "stream_id": self._names.stream,
            }
        )
