"""WebSocket frames: those that the caller writes, and pieces of what a server sends, which take little time to parse.

A parser that is given 16 KiB may find 8,000 empty frames in them; one that is given a frame of many megabytes copies
them at once. So each piece is one frame, and a long frame is passed on as fragments (RFC 6455, section 5.4, allows any
intermediary to fragment a message). A message that is too long is passed on empty.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build of it without its extension
    from websockets.utils import apply_mask

PIECE_BYTES = 32 * 1024
"""The longest payload of a piece."""
_FIN, _RESERVED, _OPCODE, _MASK = 0x80, 0x70, 0x0F, 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_CONTINUATION, _LAST_DATA = 0, 2
_WHOLE_TEXT, _WHOLE_BINARY = _FIN | 1, _FIN | 2
_HEADER_16, _HEADER_64 = struct.Struct("!BBH"), struct.Struct("!BBQ")
MASKS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """A frame, or a part of one as a fragment."""

    data: bytes
    """With its header."""
    starts_frame: bool
    refused_bytes: int = 0
    """On the last piece of a message that was too long: its size. The message's pieces have no payload then."""


class FrameSplitter:
    """Splits the frames of one connection; `feed`, then `next_piece` until it returns None.

    What is no proper frame of a server is passed on unchanged from there on, for the parser to refuse.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max = max_message_bytes
        self._buffer = bytearray()
        self._unparsable = False
        self._message_bytes = 0
        self._first = 0
        """The first byte of the frame whose payload is being read, without those of its pieces passed on."""
        self._left: int | None = None
        """Payload of that frame that was not passed on yet; None between frames."""
        self._skipping = False
        self._starts = False

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    def next_piece(self) -> Piece | None:
        """Return the next piece; None if more bytes are needed."""
        if self._left is None and not self._unparsable and not self._read_header():
            return None
        if self._unparsable:
            data = self._take(min(len(self._buffer), PIECE_BYTES))
            return Piece(data, False) if data else None
        assert self._left is not None
        if self._skipping:
            return self._skip()
        size = min(self._left, PIECE_BYTES)
        if len(self._buffer) < size:
            return None
        self._left -= size
        first = self._first if not self._left else self._first & ~_FIN
        piece = Piece(_make_header(first, size) + self._take(size), self._starts)
        self._first = self._first & _FIN | _CONTINUATION
        self._starts = False
        if not self._left:
            self._left = None
        return piece

    @property
    def has_bytes(self) -> bool:
        """Whether bytes were fed that were not passed on yet."""
        return bool(self._buffer)

    def next_text(self) -> str | None:
        """Return the message if the next frame is a whole text message of one piece; None otherwise.

        It needs no parser: all that a parser would find is in the two bytes that are compared here.
        """
        buffer = self._buffer
        if self._left is not None or self._unparsable or len(buffer) < 2 or buffer[0] != _WHOLE_TEXT:
            return None
        size, header = buffer[1], 2
        if size == _LENGTH_16:
            size, header = int.from_bytes(buffer[2:4], "big"), 4
        beyond = header + size
        if size > PIECE_BYTES or buffer[1] > _LENGTH_16 or len(buffer) < beyond:
            return None
        text = buffer[header:beyond].decode("utf-8", "replace")
        del buffer[:beyond]
        return text

    def _read_header(self) -> bool:
        """Begin a frame if its header is complete; return whether there is something to pass on."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, length = buffer[0] & _OPCODE, buffer[1] & ~_MASK
        is_data = opcode <= _LAST_DATA
        if buffer[0] & _RESERVED or buffer[1] & _MASK or (not is_data and length >= _LENGTH_16):
            self._unparsable = True
            return True
        header = 2 + {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
        if len(buffer) < header:
            return False
        if header > 2:
            length = int.from_bytes(buffer[2:header], "big")
        self._first, self._left, self._starts = buffer[0], length, True
        del buffer[:header]
        if is_data:
            self._message_bytes = length + (self._message_bytes if opcode == _CONTINUATION else 0)
            self._skipping = self._message_bytes > self._max
        else:
            self._skipping = False
        return True

    def _skip(self) -> Piece | None:
        """Drop what has come of the frame's payload; return an empty frame instead once all of it has."""
        assert self._left is not None
        skipped = min(self._left, len(self._buffer))
        del self._buffer[:skipped]
        self._left -= skipped
        if self._left:
            return None
        self._left, self._skipping = None, False
        return Piece(_make_header(self._first, 0), True, self._message_bytes if self._first & _FIN else 0)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def _make_header(first: int, size: int) -> bytes:
    if size < _LENGTH_16:
        return bytes((first, size))
    return bytes((first, _LENGTH_16)) + size.to_bytes(2, "big")


def make_client_frame(message: str | bytes, mask: bytes) -> bytes:
    """Return a message as one frame of a client (RFC 6455, section 5.2); `mask` is four bytes drawn for it alone."""
    if isinstance(message, str):
        first, payload = _WHOLE_TEXT, message.encode()
    else:
        first, payload = _WHOLE_BINARY, message
    size = len(payload)
    if size < _LENGTH_16:
        header = bytes((first, _MASK | size))
    elif size < 1 << 16:
        header = _HEADER_16.pack(first, _MASK | _LENGTH_16, size)
    else:
        header = _HEADER_64.pack(first, _MASK | _LENGTH_64, size)
    return header + mask + apply_mask(payload, mask)


def draw_masks() -> Iterator[bytes]:
    """Yield masks for frames without end; to ask the system for each one would take as long as the rest of a frame."""
    while True:
        pool = os.urandom(4 * MASKS_AT_ONCE)
        yield from (pool[at : at + 4] for at in range(0, len(pool), 4))
