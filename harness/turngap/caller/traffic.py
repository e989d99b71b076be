"""How much an agent may send in one call: the limits that keep its calls from disturbing others on the same event loop.

A reply may come at once, long before it is played, and in small pieces; so the limits are far above what audio needs.
Audio of a telephone line is 8,000 bytes a second, or 10.7 kB as base64 in JSON, in 50 messages.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""The longest message that is read: 13 minutes of μ-law as base64, more than a platform buffers."""
BURST_BYTES = 16 * 1024 * 1024
"""So much may come at once, ten minutes of audio twice over ..."""
BYTES_PER_S = 1024 * 1024
"""... and so much in each second beyond it, a hundred times what is played meanwhile."""
BURST_MESSAGES = 10_000
"""So many WebSocket frames may come at once, 45 s of audio in pieces of 37 bytes ..."""
MESSAGES_PER_S = 1_000
"""... and so many in each second beyond it, twenty times one for each 20 ms."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What the caller did not take from the agent."""

    reason: str
    """One line: what was sent, the limit, and what to do."""
    size_bytes: int = 0
    """Of the message that was refused; 0 where it was the traffic as a whole."""
    ends_call: bool = False


def refuse_message(size_bytes: int) -> Refused:
    """Return why a message of that size is not read."""
    return Refused(
        f"a message of {size_bytes / 2**20:.1f} MiB was not read: the longest is {MAX_MESSAGE_BYTES // 2**20} MiB "
        "(13 minutes of audio); send long audio in several messages",
        size_bytes,
    )


class TrafficBudget:
    """What one connection may still send: two buckets that fill with time."""

    def __init__(self) -> None:
        self._bytes = float(BURST_BYTES)
        self._messages = float(BURST_MESSAGES)
        self._at_ns: int | None = None

    def refill(self, now_ns: int) -> None:
        """Add what the time since the last call allows."""
        seconds = 0.0 if self._at_ns is None else (now_ns - self._at_ns) / 1e9
        self._at_ns = now_ns
        self._bytes = min(BURST_BYTES, self._bytes + seconds * BYTES_PER_S)
        self._messages = min(BURST_MESSAGES, self._messages + seconds * MESSAGES_PER_S)

    def spend(self, size_bytes: int, messages: int = 0) -> Refused | None:
        """Count what came; return why the call ends if it was too much."""
        self._bytes -= size_bytes
        self._messages -= messages
        if self._messages < 0:
            amount = f"{BURST_MESSAGES:,} messages and {MESSAGES_PER_S:,} in each second beyond"
        elif self._bytes < 0:
            amount = f"{BURST_BYTES // 2**20} MiB and {BYTES_PER_S // 2**20} MiB in each second beyond"
        else:
            return None
        return Refused(f"the agent sent more than the caller takes: {amount}; the call was ended", ends_call=True)
