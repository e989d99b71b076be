"""What the caller hears: received audio played from a FIFO at 8 kHz, in sample-exact arithmetic.

A message's first sample is played when it arrives, or when the audio buffered before it has been played, whichever is
later. Time received and time played are recorded separately. Pure: callers pass the time in, no clock is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from turngap.caller.onset import Segment
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import MarkSeen, Pcm16, Received

MAX_BUFFERED_NS = 600 * 1_000_000_000
"""Twilio buffers ten minutes; more is discarded with warning 31931."""


class Playout:
    """The playout buffer at the caller's end of one call."""

    def __init__(self) -> None:
        self._received: list[Received] = []
        self._marks: list[MarkSeen] = []
        self._mark_due_ns: list[int] = []
        self._clears_ns: list[int] = []
        self._end_ns = 0

    @property
    def end_ns(self) -> int:
        """The time at which all audio received so far has been played; 0 before any audio."""
        return self._end_ns

    @property
    def received(self) -> tuple[Received, ...]:
        """All messages in the order of their arrival."""
        return tuple(self._received)

    @property
    def received_count(self) -> int:
        """The number of messages so far."""
        return len(self._received)

    def received_since(self, index: int) -> list[Received]:
        """Return the messages from number `index` on, counted from 0."""
        return self._received[index:]

    @property
    def marks(self) -> tuple[MarkSeen, ...]:
        """All marks in the order of their arrival."""
        return tuple(self._marks)

    @property
    def clears_ns(self) -> tuple[int, ...]:
        """The times at which the agent emptied the buffer."""
        return tuple(self._clears_ns)

    @property
    def last_audio_recv_ns(self) -> int | None:
        """The arrival time of the last message with audio."""
        return self._received[-1].recv_ns if self._received else None

    def receive(self, pcm: Pcm16, recv_ns: int) -> bool:
        """Buffer a message's audio, shape (n,); return False if the buffer is full and the audio was discarded."""
        play_ns = max(recv_ns, self._end_ns)
        if play_ns - recv_ns + len(pcm) * NS_PER_SAMPLE > MAX_BUFFERED_NS:
            self._received.append(Received(recv_ns, play_ns, pcm, 0))
            return False
        self._received.append(Received(recv_ns, play_ns, pcm, len(pcm)))
        if len(pcm):
            self._end_ns = play_ns + len(pcm) * NS_PER_SAMPLE
        return True

    def add_mark(self, name: str, recv_ns: int) -> int:
        """Record a mark; return when its echo is due: once the audio before it has played, or at once."""
        self._marks.append(MarkSeen(name, recv_ns, None))
        self._mark_due_ns.append(max(recv_ns, self._end_ns))
        return self._mark_due_ns[-1]

    def echo_marks(self, echoed_ns: int, due_ns: int | None = None) -> tuple[str, ...]:
        """Record marks due by `due_ns` (None: all) and not yet echoed as echoed at `echoed_ns`; return their names."""
        names = []
        for index, mark in enumerate(self._marks):
            if mark.echoed_ns is None and (due_ns is None or self._mark_due_ns[index] <= due_ns):
                self._marks[index] = replace(mark, echoed_ns=echoed_ns)
                names.append(mark.name)
        return tuple(names)

    def clear(self, at_ns: int) -> None:
        """Empty the buffer on the agent's `clear`: nothing is played after `at_ns`."""
        self._clears_ns.append(at_ns)
        self.truncate(at_ns)

    def truncate(self, at_ns: int) -> None:
        """Remove the audio that would be played after `at_ns`; a sample that has started then is removed too."""
        for index in range(len(self._received) - 1, -1, -1):
            message = self._received[index]
            if message.play_ns + message.played_samples * NS_PER_SAMPLE <= at_ns and message.played_samples:
                break
            played = min(message.played_samples, max(0, (at_ns - message.play_ns) // NS_PER_SAMPLE))
            self._received[index] = replace(message, played_samples=played)
        self._end_ns = min(self._end_ns, at_ns)


def played_segments(received: Sequence[Received], from_ns: int | None = None) -> tuple[Segment, ...]:
    """Return the played audio in pieces without a hole, in time order; `from_ns` omits messages that end by then."""
    pieces: list[tuple[int, list[Pcm16]]] = []
    end_ns = -1
    for message in received:
        played = message.pcm[: message.played_samples]
        message_end_ns = message.play_ns + len(played) * NS_PER_SAMPLE
        if not len(played) or (from_ns is not None and message_end_ns <= from_ns):
            continue
        if message.play_ns == end_ns:
            pieces[-1][1].append(played)
        else:
            pieces.append((message.play_ns, [played]))
        end_ns = message_end_ns
    return tuple(Segment(start_ns, np.concatenate(parts)) for start_ns, parts in pieces)
