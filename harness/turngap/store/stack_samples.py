"""Reads what an agent recorded of its threads: the ring of stacks and the names in it. The format: `tracing`."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import RunFolderError
from turngap_agent.tracing import RING_HEADER, RING_MAGIC, RING_ROW, STACK_NAMES, STACK_RING


@dataclass(frozen=True, slots=True)
class StackChange:
    """From then on a thread had another stack."""

    at_ns: int
    """On the host's monotonic clock."""
    thread: int
    stack: int
    """0: the thread had ended, or its stack is not known."""


@dataclass(frozen=True, slots=True)
class StackSamples:
    """What the ring still has, in the order of time."""

    changes: tuple[StackChange, ...]
    frames: Mapping[int, tuple[str, ...]]
    """By stack: its functions, outermost first."""
    threads: Mapping[int, str]
    """By thread: its name."""

    @property
    def begin_ns(self) -> int:
        """The time of the oldest sample; what was before it was overwritten, or never sampled."""
        return self.changes[0].at_ns if self.changes else 0

    @property
    def end_ns(self) -> int:
        """The time of the newest one."""
        return self.changes[-1].at_ns if self.changes else 0


def read_stack_samples(folder: Path) -> StackSamples | None:
    """Return the samples in a run folder; None if the agent recorded none.

    Raises:
        RunFolderError: the ring is damaged.
    """
    file = folder / STACK_RING
    if not file.is_file():
        return None
    frames, threads = _read_names(folder / STACK_NAMES)
    size = file.stat().st_size
    if size < RING_HEADER.size + RING_ROW.size:
        raise RunFolderError(f"{file}: {size} bytes are no ring of stacks; delete it", code="run-folder.stacks")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as ring:
        magic, rows, written = RING_HEADER.unpack_from(ring)
        if magic != RING_MAGIC or not 0 < rows <= (size - RING_HEADER.size) // RING_ROW.size:
            raise RunFolderError(f"{file}: no ring of stacks, or a torn one; delete it", code="run-folder.stacks")
        kept = range(max(0, written - rows), written)
        changes = (
            StackChange(*RING_ROW.unpack_from(ring, RING_HEADER.size + row % rows * RING_ROW.size)) for row in kept
        )
        # A row that was being written when the process was killed has another time, or a name that is not there.
        known = [
            change
            for change in changes
            if change.at_ns and change.thread in threads and (not change.stack or change.stack in frames)
        ]
    return StackSamples(tuple(sorted(known, key=lambda change: change.at_ns)), frames, threads)


def delete_stack_samples(folder: Path) -> None:
    """Delete the samples: what is worth keeping is in the traces."""
    for name in (STACK_RING, STACK_NAMES):
        (folder / name).unlink(missing_ok=True)


def _read_names(file: Path) -> tuple[dict[int, tuple[str, ...]], dict[int, str]]:
    frames: dict[int, tuple[str, ...]] = {}
    threads: dict[int, str] = {}
    lines = file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
    for text in lines:
        try:
            line = json.loads(text)
            if "stack" in line:
                frames[int(line["stack"])] = tuple(str(frame) for frame in line["frames"])
            elif "thread" in line:
                threads[int(line["thread"])] = str(line["name"])
        except (ValueError, TypeError, KeyError):
            continue  # torn by a kill
    return frames, threads
