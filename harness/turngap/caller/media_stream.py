"""Twilio's side of a media stream: what the caller's end sends, in Twilio's order and with its numbers."""

from __future__ import annotations

from collections.abc import Mapping

from turngap_agent.telephony import FRAME_MS
from turngap_agent.telephony.messages import Connected, Dtmf, InboundMark, InboundMedia, Start, Stop

from turngap.caller.connection import Connection

UNREAD_BYTES = 64 * 1024


class Stream:
    """One stream over an open connection; `start` first, `stop` last."""

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
    def unread(self) -> bool:
        """Whether so much waits to be sent that the other side does not read (Twilio's 31930)."""
        return self.connection.unsent_bytes > UNREAD_BYTES

    def start(self, custom_parameters: Mapping[str, str]) -> None:
        """Say who calls."""
        self.connection.send(Connected().to_json())
        start = Start(self._stream_sid, self._call_sid, self._account_sid, custom_parameters=dict(custom_parameters))
        self.connection.send(start.to_json())

    def media(self, frame: int, payload: bytes) -> int:
        """Send 20 ms of μ-law audio, the call's `frame`-th from 0; gives the chunk's number."""
        self._chunk += 1
        message = InboundMedia(
            stream_sid=self._stream_sid,
            sequence_number=self._next(),
            chunk=self._chunk,
            timestamp_ms=self._first_timestamp_ms + frame * FRAME_MS,
            payload=payload,
        )
        self.connection.send(message.to_json())
        return self._chunk

    def key(self, digit: str) -> None:
        """Send a key that was pressed."""
        self.connection.send(Dtmf(self._stream_sid, self._next(), digit).to_json())

    def mark(self, name: str) -> None:
        """Send a mark back: the audio before it has played, or was cleared."""
        self.connection.send(InboundMark(self._stream_sid, self._next(), name).to_json())

    def stop(self) -> None:
        """Say that the stream has ended."""
        self.connection.send(Stop(self._stream_sid, self._next(), self._account_sid, self._call_sid).to_json())

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
