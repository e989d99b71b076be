"""Messages between processes of one program of one version: pickles with their length before them, over pipes."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from typing import IO, Any

LENGTH = struct.Struct("!Q")
"""Before each message."""
_PIECE = 1 << 20
"""Bytes read at once."""


def encode_message(message: object) -> bytes:
    """Return a message as it is written to a pipe."""
    data = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(data)) + data


def read_messages(stream: IO[bytes]) -> Iterator[Any]:
    """Yield the messages that were written to the pipe's other end, until it is closed; a torn last one is left out."""
    descriptor = stream.fileno()  # nothing of the next message may stay in a buffer
    while True:
        head = _read_exactly(descriptor, LENGTH.size)
        if head is None:
            return
        data = _read_exactly(descriptor, LENGTH.unpack(head)[0])
        if data is None:
            return
        yield pickle.loads(data)  # of our own process


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    """Return so many bytes; None if the pipe was closed before."""
    pieces = []
    while size:
        piece = os.read(descriptor, min(size, _PIECE))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
