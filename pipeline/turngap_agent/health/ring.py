"""What the process's threads were doing, in a file of fixed size that keeps the last samples: a ring.

The file is mapped into memory: a sample is a few bytes that are copied, no system call. Whoever wants a trace reads the
file afterwards and from outside, which costs the process nothing. A row says that from then on a thread had another
stack; so a thread that waits costs one row, whatever the time. Every second all threads have a row, so that a ring that
has gone round still knows them. The format: `turngap_agent.tracing`.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from turngap_agent.errors import EngineError
from turngap_agent.health.stacks import CodeStack, describe_code, read_codes
from turngap_agent.tracing import RING_HEADER, RING_MAGIC, RING_ROW, STACK_NAMES, STACK_RING

ROWS = 1 << 20
"""Rows that the ring keeps, 16 MiB: at 300 rows a second, which two busy threads need, almost an hour."""
MOST_STACKS = 50_000
"""Different stacks; later ones are recorded as unknown (0), so that neither the file nor memory grows without end."""
KEY_TICKS = 100
"""After so many samples every thread gets a row."""


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A thread in the ring."""

    number: int
    native_id: int | None

    def is_not(self, thread: threading.Thread | None) -> bool:
        """Whether `thread`, with the same ident, is another one."""
        return thread is not None and thread.native_id != self.native_id


class StackRing:
    """Samples all threads but its own caller into the ring."""

    def __init__(self, file: mmap.mmap, names: int, rows: int) -> None:
        self._ring, self._names, self._rows = file, names, rows
        self._written = self._ticks = 0
        self._stacks: dict[CodeStack, int] = {}
        self._threads: dict[int, _Sampled] = {}
        self._now: dict[int, int] = {}
        self._next_thread = 1

    @classmethod
    def create(cls, folder: Path, rows: int = ROWS) -> Self:
        """Make the files in `folder`, in place of those of an earlier agent.

        Raises:
            EngineError: the disk is full, or the folder can't be written.
        """
        size = RING_HEADER.size + rows * RING_ROW.size
        try:
            ring = os.open(folder / STACK_RING, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                # A page that the disk has no room for would end the process when it is first written.
                os.posix_fallocate(ring, 0, size)
                mapped = mmap.mmap(ring, size)
            finally:
                os.close(ring)
            names = os.open(folder / STACK_NAMES, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        except OSError as error:
            why = error.strerror or str(error)
            raise EngineError(f"{folder}: no room for the ring of stacks, {size >> 20} MiB ({why})") from None
        RING_HEADER.pack_into(mapped, 0, RING_MAGIC, rows, 0)
        return cls(mapped, names, rows)

    def sample(self, at_ns: int) -> None:
        """Record what the other threads do now; `at_ns` is the host's monotonic clock."""
        own = threading.get_ident()
        frames = sys._current_frames()
        known = {thread.ident: thread for thread in threading.enumerate()}
        key = self._ticks % KEY_TICKS == 0
        self._ticks += 1
        # The system gives the ident of a thread that has ended to the next one; its native id is another.
        for ident in [each for each, old in self._threads.items() if each not in frames or old.is_not(known.get(each))]:
            self._add_row(at_ns, self._threads.pop(ident).number, 0)
            del self._now[ident]
        for ident, frame in frames.items():
            if ident == own:
                continue
            stack = self._stack_number(frame)
            if key or self._now.get(ident) != stack:
                self._add_row(at_ns, self._thread_number(ident, known.get(ident)), stack)
                self._now[ident] = stack
        RING_HEADER.pack_into(self._ring, 0, RING_MAGIC, self._rows, self._written)

    def close(self) -> None:
        """Write the ring out and close its files."""
        self._ring.flush()
        self._ring.close()
        os.close(self._names)

    def _add_row(self, at_ns: int, thread: int, stack: int) -> None:
        RING_ROW.pack_into(
            self._ring, RING_HEADER.size + self._written % self._rows * RING_ROW.size, at_ns, thread, stack
        )
        self._written += 1

    def _stack_number(self, frame: FrameType) -> int:
        codes = read_codes(frame)
        number = self._stacks.get(codes)
        if number is None:
            if len(self._stacks) >= MOST_STACKS:
                return 0
            number = self._stacks[codes] = len(self._stacks) + 1
            self._add_name({"stack": number, "frames": [describe_code(code) for code in codes]})
        return number

    def _thread_number(self, ident: int, thread: threading.Thread | None) -> int:
        sampled = self._threads.get(ident)
        if sampled is None:
            native_id = thread.native_id if thread is not None else None
            sampled = self._threads[ident] = _Sampled(self._next_thread, native_id)
            self._next_thread += 1
            name = thread.name if thread is not None else f"thread {ident}"  # one that a library started
            self._add_name({"thread": sampled.number, "name": name, "tid": native_id})
        return sampled.number

    def _add_name(self, line: dict[str, object]) -> None:
        os.write(self._names, (json.dumps(line) + "\n").encode())
