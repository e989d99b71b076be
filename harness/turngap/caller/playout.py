"""What the caller hears: received audio played from a FIFO at 8 kHz, in sample-exact arithmetic.

A message's first sample is played when it arrives, or when the audio buffered before it has been played, whichever is
later. Time received and time played are recorded separately. Pure: callers pass the time in, no clock is read.
"""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from turngap.caller.onset import Segment
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import MarkSeen, Pcm16, Received

MAX_BUFFERED_NS = 600 * 1_000_000_000
"""Twilio buffers ten minutes; more is discarded with warning 31931."""
STEP_MESSAGES = 64
"""Messages that are truncated before others get their turn: 0.1 ms."""
MAX_JOINED_PARTS = 100
"""A message of more parts, over 100 s of audio, is recorded as so many messages."""


class Playout:
    """The playout buffer at the caller's end of one call."""

    def __init__(self, max_buffered_ns: int = MAX_BUFFERED_NS) -> None:
        """`max_buffered_ns`: audio beyond so much is discarded."""
        self._max_buffered_ns = max_buffered_ns
        self._received: list[Received] = []
        self._continued: set[int] = set()
        """The numbers of those that are a further part of the message before them."""
        self._settled = 0
        """Those before this number have been truncated already."""
        self._marks: list[MarkSeen] = []
        self._pending: deque[tuple[int, int]] = deque()
        """(mark's number, time at which its echo is due) of each mark that was not echoed."""
        self._released_marks = 0
        """Marks before this number are due at once: the audio before them was cleared."""
        self._clears_ns: list[int] = []
        self._end_ns = 0

    @property
    def end_ns(self) -> int:
        """The time at which all audio received so far has been played; 0 before any audio."""
        return self._end_ns

    @property
    def received(self) -> tuple[Received, ...]:
        """All messages in the order of their arrival, each whole unless it is very long; this takes time."""
        if not self._continued:
            return tuple(self._received)
        firsts = [index for index in range(len(self._received)) if index not in self._continued]
        pairs = itertools.pairwise([*firsts, len(self._received)])
        return tuple(message for first, beyond in pairs for message in _join(self._received[first:beyond]))

    @property
    def received_count(self) -> int:
        """The number of messages so far; the parts of a long one count."""
        return len(self._received)

    def received_since(self, index: int, beyond: int | None = None) -> list[Received]:
        """Return the messages, or parts of long ones, from number `index` on, counted from 0, to before `beyond`."""
        return self._received[index:beyond]

    def end_of_message_ns(self, index: int) -> int:
        """Return when message `index` has been played."""
        message = self._received[index]
        return message.play_ns + message.played_samples * NS_PER_SAMPLE

    def play_ns(self, index: int) -> int:
        """Return when the first sample of message `index` is played."""
        return self._received[index].play_ns

    @property
    def marks(self) -> tuple[MarkSeen, ...]:
        """All marks in the order of their arrival."""
        return tuple(self._marks)

    @property
    def last_mark_recv_ns(self) -> int | None:
        """The arrival time of the last mark."""
        return self._marks[-1].recv_ns if self._marks else None

    @property
    def clears_ns(self) -> tuple[int, ...]:
        """The times at which the agent emptied the buffer."""
        return tuple(self._clears_ns)

    @property
    def clear_count(self) -> int:
        """How often the agent emptied the buffer."""
        return len(self._clears_ns)

    @property
    def last_clear_ns(self) -> int | None:
        """The time of the last clear."""
        return self._clears_ns[-1] if self._clears_ns else None

    @property
    def last_audio_recv_ns(self) -> int | None:
        """The arrival time of the last message with audio."""
        return self._received[-1].recv_ns if self._received else None

    def find_clear_ns(self, from_ns: int) -> int | None:
        """Return the time of the first clear at or after `from_ns`."""
        index = bisect.bisect_left(self._clears_ns, from_ns)
        return self._clears_ns[index] if index < len(self._clears_ns) else None

    def has_room(self, samples: int, recv_ns: int) -> bool:
        """Return whether so much more audio can be buffered."""
        return max(0, self._end_ns - recv_ns) + samples * NS_PER_SAMPLE <= self._max_buffered_ns

    def receive(self, pcm: Pcm16, recv_ns: int, *, continues: bool = False) -> bool:
        """Buffer a message's audio, shape (n,); return False if the buffer is full and the audio was discarded.

        `continues`: it is a further part of the message before it.
        """
        if continues and self._received:
            self._continued.add(len(self._received))
        play_ns = max(recv_ns, self._end_ns)
        if not self.has_room(len(pcm), recv_ns):
            self._received.append(Received(recv_ns, play_ns, pcm, 0))
            return False
        self._received.append(Received(recv_ns, play_ns, pcm, len(pcm)))
        if len(pcm):
            self._end_ns = play_ns + len(pcm) * NS_PER_SAMPLE
        return True

    @property
    def next_mark_due_ns(self) -> int | None:
        """When the next mark that was not echoed is due; 0 if the audio before it was cleared."""
        if not self._pending:
            return None
        index, due_ns = self._pending[0]
        return 0 if index < self._released_marks else due_ns

    def add_mark(self, name: str, recv_ns: int) -> int:
        """Record a mark; return when its echo is due: once the audio before it has played, or at once."""
        due_ns = max(recv_ns, self._end_ns)
        self._pending.append((len(self._marks), due_ns))
        self._marks.append(MarkSeen(name, recv_ns, None))
        return due_ns

    def echo_marks(self, echoed_ns: int, due_ns: int | None = None, *, most: int | None = None) -> tuple[str, ...]:
        """Record marks due by `due_ns` (None: all) and not yet echoed as echoed at `echoed_ns`; return their names.

        `most`: no more than so many; the others remain due.
        """
        names: list[str] = []
        while self._pending and len(names) != most:
            index, mark_due_ns = self._pending[0]
            if due_ns is not None and mark_due_ns > due_ns and index >= self._released_marks:
                break
            self._pending.popleft()
            self._marks[index] = replace(self._marks[index], echoed_ns=echoed_ns)
            names.append(self._marks[index].name)
        return tuple(names)

    def clear(self, at_ns: int) -> None:
        """Empty the buffer on the agent's `clear`: nothing is played after `at_ns`, and all marks are due."""
        for _ in self.clear_in_steps(at_ns):
            pass

    def clear_in_steps(self, at_ns: int) -> Iterator[None]:
        """Do the same, and yield now and then, as a flood may be buffered; the next to be played come first."""
        self._clears_ns.append(at_ns)
        self._released_marks = len(self._marks)
        yield from self.truncate_in_steps(at_ns)

    def drop_marks(self) -> None:
        """Forget the marks that were not echoed: they never will be."""
        self._pending.clear()

    def truncate(self, at_ns: int) -> None:
        """Remove the audio that would be played after `at_ns`; a sample that has started then is removed too."""
        for _ in self.truncate_in_steps(at_ns):
            pass

    def truncate_in_steps(self, at_ns: int) -> Iterator[None]:
        """Do the same, and yield now and then."""
        self._end_ns = min(self._end_ns, at_ns)
        beyond = len(self._received)
        first = bisect.bisect_right(range(beyond), at_ns, lo=min(self._settled, beyond), key=self.end_of_message_ns)
        self._settled = beyond
        for index in range(first, beyond):
            message = self._received[index]
            played = min(message.played_samples, max(0, (at_ns - message.play_ns) // NS_PER_SAMPLE))
            self._received[index] = Received(message.recv_ns, message.play_ns, message.pcm, played)
            if (index - first) % STEP_MESSAGES == STEP_MESSAGES - 1:
                yield


def _join(parts: Sequence[Received]) -> Sequence[Received]:
    """Return the parts of one message as the message; a very long one stays in parts, as to join them takes time."""
    if len(parts) == 1 or len(parts) > MAX_JOINED_PARTS:
        return parts
    pcm = np.concatenate([part.pcm for part in parts])
    return (replace(parts[0], pcm=pcm, played_samples=sum(part.played_samples for part in parts)),)


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
