"""Messages between the agent and an engine's process: pickled tuples with their length before them.

Both ends are this program, started by each other over a socket that nobody else has.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<I")
RESULTS = ("transcribe", "transcribe_as", "completeness", "judge", "end_probability", "read_ahead", "prepare")
"""Methods of engines with one result."""
STREAMS = ("reply", "speak")
"""Methods that yield pieces."""
FACTS = ("sample_rate", "on_demand")
"""What an engine states of itself."""


def pack(message: tuple[Any, ...]) -> bytes:
    """Return a message as bytes."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> tuple[Any, ...]:
    """Return the next message.

    Raises:
        EOFError: the other side has gone.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        message: tuple[Any, ...] = pickle.loads(await reader.readexactly(length))  # our own process
    except (asyncio.IncompleteReadError, OSError) as error:
        raise EOFError from error
    return message


def read_blocking(end: socket.socket) -> tuple[Any, ...]:
    """Return the next message; blocks.

    Raises:
        EOFError: the other side has gone.
    """
    (length,) = _LENGTH.unpack(_receive(end, _LENGTH.size))
    message: tuple[Any, ...] = pickle.loads(_receive(end, length))  # our own process
    return message


def _receive(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
