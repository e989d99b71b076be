"""The caller's end of a Twilio media stream: messages in Twilio's order and with Twilio's numbers."""

from __future__ import annotations

from collections.abc import Mapping

from turngap_agent.telephony import FRAME_MS
from turngap_agent.telephony.messages import Connected, Dtmf, InboundMark, InboundMedia, Start, Stop

from turngap.caller.connection import Connection

UNREAD_BYTES = 64 * 1024


class CallerStream:
    """One stream over an open connection; `send_start` first, `send_stop` last."""

    def __init__(
        self, connection: Connection, *, stream_sid: str, call_sid: str, account_sid: str, first_timestamp_ms: int
    ) -> None:
        self.connection = connection
        self._stream_sid = stream_sid
        self._call_sid = call_sid
        self._account_sid = account_sid
        self._first_timestamp_ms = first_timestamp_ms
        self._sequence = 1
        self._chunk = 0

    @property
    def is_unread(self) -> bool:
        """Whether so many bytes wait to be sent that the other side is not reading (Twilio's 31930)."""
        return self.connection.unsent_bytes > UNREAD_BYTES

    def send_start(self, custom_parameters: Mapping[str, str]) -> None:
        """Send `connected` and `start`, which identify the call."""
        self.connection.send(Connected().to_json())
        start = Start(self._stream_sid, self._call_sid, self._account_sid, custom_parameters=dict(custom_parameters))
        self.connection.send(start.to_json())

    def send_media(self, frame: int, payload: bytes) -> int:
        """Send 20 ms of μ-law audio, the call's frame number `frame` from 0; return the chunk's number."""
        self._chunk += 1
        message = InboundMedia(
            stream_sid=self._stream_sid,
            sequence_number=self._next_sequence(),
            chunk=self._chunk,
            timestamp_ms=self._first_timestamp_ms + frame * FRAME_MS,
            payload=payload,
        )
        self.connection.send(message.to_json())
        return self._chunk

    def send_key(self, digit: str) -> None:
        """Send a key press as a `dtmf` message."""
        self.connection.send(Dtmf(self._stream_sid, self._next_sequence(), digit).to_json())

    def send_mark(self, name: str) -> None:
        """Echo a mark: the audio before it has played, or was cleared."""
        self.connection.send(InboundMark(self._stream_sid, self._next_sequence(), name).to_json())

    def send_stop(self) -> None:
        """Send `stop`: the stream has ended."""
        self.connection.send(Stop(self._stream_sid, self._next_sequence(), self._account_sid, self._call_sid).to_json())

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
