"""Twilio Media Streams, bidirectional. Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS
from turngap_agent.telephony.messages import Connected, Dtmf, InboundMark, Start, Stop

from turngap.caller.dialects import AgentAudio, AgentClear, AgentEvent, AgentMark, StreamNames, Wire
from turngap.caller.dialects.audio import MULAW
from turngap.caller.dialects.audio_template import AudioTemplate
from turngap.caller.dialects.json_messages import (
    describe_unknown_event,
    dump_message,
    load_message,
    read_object,
    read_payload,
    read_string,
)
from turngap.caller.long_message import AnyMessage, LongMessage, is_text
from turngap.caller.playout import MAX_BUFFERED_NS

_INVALID = "protocol.31951"


class TwilioDialect:
    """Twilio's side of one stream. `sequenceNumber`, `chunk` and `timestamp` are strings on the wire."""

    name = "twilio"
    platform = "Twilio"
    max_buffered_ns = MAX_BUFFERED_NS
    echoes_cleared_marks = True

    def __init__(self, names: StreamNames) -> None:
        self._names = names
        self._stream_json = dump_message(names.stream)
        self._template = AudioTemplate()
        self._sequence = 1
        self.chunk = 0

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """`connected` and `start`."""
        names = self._names
        start = Start(names.stream, names.call, names.account, custom_parameters=dict(parameters))
        return Connected().to_json(), start.to_json()

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """`media`, as `InboundMedia.to_json` has it; its timestamp counts from the stream's start."""
        self.chunk += 1
        coded = binascii.b2a_base64(payload, newline=False).decode("ascii")
        return (
            f'{{"event":"media","sequenceNumber":"{self._next_sequence()}","media":{{"track":"inbound",'
            f'"chunk":"{self.chunk}","timestamp":"{self._names.first_timestamp_ms + frame * FRAME_MS}",'
            f'"payload":"{coded}"}},"streamSid":{self._stream_json}}}'
        )

    def key_message(self, digit: str) -> Wire:
        """`dtmf`."""
        return Dtmf(self._names.stream, self._next_sequence(), digit).to_json()

    def mark_message(self, name: str) -> Wire:
        """`mark`."""
        return InboundMark(self._names.stream, self._next_sequence(), name).to_json()

    def cleared_messages(self) -> Sequence[Wire]:
        """Nothing: the marks come back."""
        return ()

    def stop_messages(self) -> Sequence[Wire]:
        """`stop`."""
        names = self._names
        return (Stop(names.stream, self._next_sequence(), names.account, names.call).to_json(),)

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """The audio of a `media` like one before it."""
        return self._template.read(message)

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """`media`, `mark` and `clear`; 31950 is Twilio's warning of a binary frame, 31951 of an invalid message."""
        if not is_text(message):
            raise ProtocolError("a binary frame; Twilio takes text frames only", code="protocol.31950")
        try:
            return self._parse(message), ()
        except ProtocolError as error:
            raise ProtocolError(f"an invalid message: {error}", code=_INVALID) from None

    def _parse(self, text: str | LongMessage[str]) -> AgentEvent:
        message = load_message(text)
        event = message.get("event")
        if event not in ("media", "mark", "clear"):
            raise ProtocolError(describe_unknown_event(event))
        stream = read_string(message, "streamSid")
        body: AgentEvent
        if event == "media":
            body = AgentAudio(read_payload(message), MULAW)
        elif event == "mark":
            body = AgentMark(read_string(read_object(message, "mark"), "name"))
        else:
            body = AgentClear()
        if stream != self._names.stream:
            raise ProtocolError(f"it is for stream {stream[:60]!r}; this one is {self._names.stream!r}")
        if isinstance(body, AgentAudio):
            self._template.learn(text, body.payload)
        return body

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
