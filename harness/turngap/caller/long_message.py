"""A message of more than a megabyte, in the parts in which it came: to join them would take milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeGuard, TypeVar

JOINED_BYTES = 1024 * 1024
"""Longer messages are handled in parts: to join them would stop the event loop for over 1 ms."""
Part = TypeVar("Part", str, bytes)


@dataclass(frozen=True, slots=True)
class LongMessage(Generic[Part]):
    """Text or bytes in parts."""

    parts: Sequence[Part]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)


AnyMessage = str | bytes | LongMessage[str] | LongMessage[bytes]


def join_message(parts: Sequence[Any], is_text: bool) -> AnyMessage:
    """Return a message from its parts, all texts or all bytes."""
    if sum(map(len, parts)) > JOINED_BYTES:
        return LongMessage(parts)
    return "".join(parts) if is_text else b"".join(parts)


def is_text(message: AnyMessage) -> TypeGuard[str | LongMessage[str]]:
    """Return whether a message is a text."""
    return isinstance(message.parts[0] if isinstance(message, LongMessage) else message, str)


def slice_message(message: AnyMessage, size: int) -> Iterator[str | bytes]:
    """Yield a message in slices of `size` characters or bytes, the last one of what remains; none if it is empty."""
    held: list[Any] = []
    count = 0
    parts: Sequence[str | bytes] = message.parts if isinstance(message, LongMessage) else [message]
    for part in parts:
        at = 0
        while count + len(part) - at >= size:  # nothing is held once `at` is not 0
            end = at + size - count
            yield _join([*held, part[at:end]])
            held, count, at = [], 0, end
        if at < len(part):
            held.append(part[at:])
            count += len(part) - at
    if count:
        yield _join(held)


def _join(parts: list[Any]) -> str | bytes:
    joined: str | bytes = parts[0][:0].join(parts)
    return joined
