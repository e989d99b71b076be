"""Puts a WebSocket message together from its frames, each decoded as it comes."""

from __future__ import annotations

import codecs
from typing import Any

from websockets.frames import Frame, Opcode

from turngap.caller.long_message import AnyMessage, join_message

DATA_OPCODES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
"""Of frames that carry a message or a part of one."""


class MessageAssembly:
    """The message of one connection that is under way; none most of the time."""

    __slots__ = ("_decoder", "_parts", "is_in_message")

    def __init__(self) -> None:
        self.is_in_message = False
        """Whether a message has begun whose last part has not come."""
        self._parts: list[Any] = []
        self._decoder: codecs.IncrementalDecoder | None = None
        """Of a text; None for bytes."""

    def add(self, frame: Frame) -> AnyMessage | None:
        """Take a data frame; return the message that it ends, None if more of it is to come."""
        self.is_in_message = not frame.fin
        if frame.opcode is not Opcode.CONT:
            is_text = frame.opcode is Opcode.TEXT
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if is_text else None
            self._parts = []
        # Each part is decoded as it comes: a whole megabyte would take half a millisecond.
        part = self._decoder.decode(frame.data, frame.fin) if self._decoder is not None else bytes(frame.data)
        self._parts.append(part)
        if not frame.fin:
            return None
        parts, self._parts = self._parts, []
        return join_message(parts, self._decoder is not None)
