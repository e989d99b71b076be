"""Cuts what a WebSocket server sends into pieces that take little time to parse, whatever the server sends.

A parser that is given 16 KiB may find 8,000 empty frames in them; one that is given a frame of many megabytes copies
them at once. So each piece is one frame, and a long frame is passed on as fragments (RFC 6455, section 5.4, allows any
intermediary to fragment a message). A message that is too long is passed on empty.
"""

from __future__ import annotations

from dataclasses import dataclass

PIECE_BYTES = 32 * 1024
"""The longest payload of a piece."""
_FIN, _RESERVED, _OPCODE, _MASK = 0x80, 0x70, 0x0F, 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_CONTINUATION, _LAST_DATA = 0, 2


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
