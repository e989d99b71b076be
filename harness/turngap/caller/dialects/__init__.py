"""The wire formats of telephone platforms: what the caller sends, and what it understands of the agent's messages.

One module a dialect. `Dialect` is the protocol between them and the call; audio is 8 kHz in all of the call, and
`audio` converts what a dialect carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from turngap.caller.dialects.audio import AudioFormat
from turngap.caller.long_message import AnyMessage

Wire = str | bytes
"""A text or a binary WebSocket message."""


@dataclass(frozen=True, slots=True)
class StreamNames:
    """What identifies one call on the wire."""

    stream: str
    call: str
    account: str
    first_timestamp_ms: int
    """The timestamp of the first frame, on a dialect that counts them from the stream's start."""
    unix_ms: int = 0
    """When the stream started, since 1970."""


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """Audio to be played, as it was received."""

    payload: AnyMessage
    """base64, or raw bytes."""
    format: AudioFormat


@dataclass(frozen=True, slots=True)
class AgentMark:
    """A request to be told when the audio before it has played."""

    name: str


@dataclass(frozen=True, slots=True)
class AgentClear:
    """A request to empty the playout buffer."""


@dataclass(frozen=True, slots=True)
class AgentHangUp:
    """The agent ends the call by a message."""


AgentEvent = AgentAudio | AgentMark | AgentClear | AgentHangUp


class Dialect(Protocol):
    """One call's side of a platform: it numbers the messages that it makes."""

    name: str
    platform: str
    """Whose dialect it is, as lines for a user name it."""
    max_buffered_ns: int
    """So much audio is buffered; more is discarded."""
    echoes_cleared_marks: bool
    """Whether marks come back when the audio before them is cleared."""

    @property
    def chunk(self) -> int:
        """The number of media messages so far."""
        ...

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """What opens the stream and identifies the call."""
        ...

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """20 ms of the caller's audio, 160 bytes of μ-law; `frame` counts from 0."""
        ...

    def key_message(self, digit: str) -> Wire:
        """A key press."""
        ...

    def mark_message(self, name: str) -> Wire:
        """The answer to a mark: the audio before it has played, or was cleared."""
        ...

    def cleared_messages(self) -> Sequence[Wire]:
        """The answer to a clear."""
        ...

    def stop_messages(self) -> Sequence[Wire]:
        """What ends the stream, before the socket is closed."""
        ...

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """Return the μ-law audio of a message that differs in it alone from one that was parsed; None: parse it."""
        ...

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """Return what the agent's message asks for, and warnings: (the platform's code or a key, text).

        Raises:
            ProtocolError: it is not understood; the end of `code`, as in `protocol.31951`, is the platform's code.
        """
        ...
