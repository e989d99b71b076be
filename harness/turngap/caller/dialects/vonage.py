"""Vonage Voice API WebSockets: audio is 16-bit linear PCM in binary messages of 20 ms, at 8 or 16 kHz.

Source: https://developer.vonage.com/en/voice/voice-api/concepts/websockets. Vonage buffers 3,072 messages. What happens
to the notifications of cleared audio is not documented; here they are not sent. The call ends by closing the socket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, FRAME_NS

from turngap.caller.dialects import AgentAudio, AgentClear, AgentEvent, AgentMark, StreamNames, Wire
from turngap.caller.dialects.audio import AudioFormat, Pcm16, Rate, encode_frame
from turngap.caller.dialects.json_messages import dump_message, load_message
from turngap.caller.long_message import AnyMessage, is_text

_KEY_MS = 260


class VonageDialect:
    """Vonage's side of one WebSocket; messages of audio have no numbers on the wire."""

    platform = "Vonage"
    max_buffered_ns = 3072 * FRAME_NS
    echoes_cleared_marks = False

    def __init__(self, names: StreamNames, rate: Rate = 16000) -> None:
        self._names = names
        self._format = AudioFormat("l16", rate)
        self._before: Pcm16 = np.zeros(0, np.int16)
        self.name = "vonage" if rate == 16000 else "vonage-8khz"
        self.chunk = 0

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """`websocket:connected`; the parameters are the endpoint's `headers`, beside the call's name as `uuid`."""
        content = {"event": "websocket:connected", "content-type": f"audio/l16;rate={self._format.rate}"}
        return (dump_message({**parameters, "uuid": self._names.call, **content}),)

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """Binary, 320 or 640 bytes."""
        self.chunk += 1
        data, self._before = encode_frame(payload, self._format.rate, self._before)
        return data

    def key_message(self, digit: str) -> Wire:
        """`websocket:dtmf`."""
        return dump_message({"event": "websocket:dtmf", "digit": digit, "duration": _KEY_MS})

    def mark_message(self, name: str) -> Wire:
        """`websocket:notify`, with the payload of the `notify`."""
        return dump_message({"event": "websocket:notify", "payload": json.loads(name)})

    def cleared_messages(self) -> Sequence[Wire]:
        """`websocket:cleared`."""
        return (dump_message({"event": "websocket:cleared"}),)

    def stop_messages(self) -> Sequence[Wire]:
        """Nothing."""
        return ()

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """None: audio is binary, and linear."""
        return None

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """Binary audio, and the actions `clear` and `notify`; a notification's name is its payload as JSON."""
        if not is_text(message):
            frame_bytes = self._format.bytes_per_second * FRAME_MS // 1000
            warnings = []
            if len(message) != frame_bytes:
                text = (
                    f"a message of {len(message)} bytes; Vonage takes {frame_bytes} (20 ms at {self._format.rate} Hz)"
                )
                warnings = [("frame size", text)]
            return AgentAudio(message, self._format), warnings
        parsed = load_message(message)
        match parsed.get("action"):
            case "clear":
                return AgentClear(), ()
            case "notify":
                return AgentMark(dump_message(parsed.get("payload") or {})), ()
            case action:
                raise ProtocolError(f"unknown action {str(action)[:60]!r} from the agent; expected clear or notify")
