"""The caller's end of a media stream: the messages of its dialect, in their order, on an open connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from turngap.caller.dialects import Dialect, StreamNames, Wire
from turngap.caller.dialects.twilio import TwilioDialect

UNREAD_BYTES = 64 * 1024


class Line(Protocol):
    """What carries a call's messages: a WebSocket `Connection`, or a `SipLine`."""

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the other side has not accepted yet."""
        ...

    def send(self, message: Wire) -> None:
        """Write a message now; do nothing once the line is closing."""
        ...

    def drop(self) -> None:
        """Disappear at once, as a phone without a network does."""
        ...

    async def close(self) -> None:
        """End the call in the protocol's own way."""
        ...


class CallerStream:
    """One stream over an open connection; `send_start` first, `send_stop` last."""

    def __init__(self, connection: Line, dialect: Dialect) -> None:
        self.connection = connection
        self._dialect = dialect

    @classmethod
    def twilio(
        cls, connection: Line, *, stream_sid: str, call_sid: str, account_sid: str, first_timestamp_ms: int
    ) -> CallerStream:
        """Return a stream in Twilio's dialect."""
        return cls(connection, TwilioDialect(StreamNames(stream_sid, call_sid, account_sid, first_timestamp_ms)))

    @property
    def is_unread(self) -> bool:
        """Whether so many bytes wait to be sent that the other side is not reading (Twilio's 31930)."""
        return self.connection.unsent_bytes > UNREAD_BYTES

    def send_start(self, custom_parameters: Mapping[str, str]) -> None:
        """Send what identifies the call."""
        for message in self._dialect.start_messages(custom_parameters):
            self.connection.send(message)

    def send_media(self, frame: int, payload: bytes) -> int:
        """Send 20 ms of μ-law audio, the call's frame number `frame` from 0; return the chunk's number."""
        self.connection.send(self._dialect.media_message(frame, payload))
        return self._dialect.chunk

    def send_key(self, digit: str) -> None:
        """Send a key press."""
        self.connection.send(self._dialect.key_message(digit))

    def send_mark(self, name: str) -> None:
        """Echo a mark: the audio before it has played, or was cleared."""
        self.connection.send(self._dialect.mark_message(name))

    def send_stop(self) -> None:
        """Send what ends the stream, if the dialect has a message for it."""
        for message in self._dialect.stop_messages():
            self.connection.send(message)
