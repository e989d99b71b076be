"""The parts of an engine's work, timed at their borders: for `turngap stage`, and nothing in a call.

An engine declares the names of its parts as its attribute `parts`, and marks each where it is done:
`with parts.part("encoder"): ...`. A part lasts until the next one begins, both by one reading of the clock, so that no
time falls between two; one inside another interrupts that. What passes before the first mark of a thread's work is
that part's too. Without a `Recorder` in the task that asked for the work a mark costs a look at a context variable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable

from turngap_agent import clock

HAND_OVER = "hand_over"
"""From the request to the engine's thread and back, queueing and the thread's waits for its reader included; `worker`
marks it for every engine."""
KEPT = "kept"
"""The size by which a part that runs a model notes, before each pass, how many positions attention has from earlier
passes: where keys and values lie in one buffer of the greatest length, nothing else tells how much of it is read."""


@runtime_checkable
class HasParts(Protocol):
    """An engine whose work has parts."""

    parts: tuple[str, ...]
    """Their names, in the order in which they are done."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of time in one part, ns on the agent's clock."""

    part: str
    start_ns: int
    end_ns: int
    thread: str
    """Name of the thread that did it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A size of the work that a part did: how many positions were encoded, how many tokens decoded."""

    part: str
    name: str
    value: int


Watch = Callable[["Recorder"], AbstractContextManager[object]]


class Recorder:
    """The slices and shapes of some work, in the order in which they ended; safe from any thread."""

    def __init__(self, wait: Callable[[], None] | None = None, watch: Watch | None = None) -> None:
        """Args:
        wait: Called before the clock is read at each border: waits for the device, whose work is queued.
        watch: Makes a context around the work of an engine's thread, to count operations there.
        """
        self.slices: list[Slice] = []
        self.shapes: list[Shape] = []
        self._wait = wait
        self._watch = watch

    @contextmanager
    def record(self) -> Iterator[Lane]:
        """Record what is done inside the context, by this task and for it; the lane has its start and end."""
        lane = Lane(self, self._wait)
        token = _LANE.set(lane)
        try:
            yield lane
        finally:
            lane.finish()
            _LANE.reset(token)

    def total_ns(self) -> dict[str, int]:
        """Return the time in each part."""
        totals: dict[str, int] = {}
        for one in self.slices:
            totals[one.part] = totals.get(one.part, 0) + one.end_ns - one.start_ns
        return totals

    def watch_thread(self) -> AbstractContextManager[object]:
        """Return the context around the work of an engine's thread."""
        return self._watch(self) if self._watch is not None else _NOTHING


class Lane:
    """The parts that one thread or task is in, the innermost last."""

    __slots__ = ("_last", "_name", "_open", "_since_ns", "_wait", "end_ns", "recorder", "start_ns")

    def __init__(self, recorder: Recorder, wait: Callable[[], None] | None, start_ns: int | None = None) -> None:
        self.recorder = recorder
        self._wait = wait
        self._open: list[str] = []
        self._last: str | None = None
        """The part that was left last, which goes on until the next one."""
        self._name = threading.current_thread().name
        self.start_ns = self._since_ns = clock.now_ns() if start_ns is None else start_ns
        self.end_ns = 0

    @property
    def part(self) -> str | None:
        """The current part; None before the first."""
        return self._open[-1] if self._open else self._last

    def enter(self, part: str) -> None:
        """End or interrupt the current part, and begin another."""
        if self.part is not None:
            self._end_current()
        self._open.append(part)

    def leave(self) -> None:
        """Continue the part that this one interrupted; if there is none, this one goes on until the next."""
        if len(self._open) > 1:
            self._end_current()
            self._open.pop()
        else:
            self._last = self._open.pop()

    def suspend(self) -> int:
        """End the current part, as another thread works now; return when the hand-over to it began."""
        if self.part is not None:
            self._end_current()
        return self._since_ns

    def resume(self, ended_ns: int) -> None:
        """Go on here after another thread's work, which ended at `ended_ns`."""
        self._since_ns = ended_ns
        if self._open:
            self._open.append(HAND_OVER)
            self.leave()
        else:
            self._last = HAND_OVER

    def finish(self) -> None:
        """End the current part, and the lane."""
        if self.part is not None:
            self._end_current()
        else:
            self._since_ns = self._border_ns()
        self._open, self._last = [], None
        self.end_ns = self._since_ns

    @property
    def took_ms(self) -> float:
        """The length of the lane, once it has ended."""
        return (self.end_ns - self.start_ns) / 1e6

    def _border_ns(self) -> int:
        if self._wait is not None:
            self._wait()
        return clock.now_ns()

    def _end_current(self) -> None:
        part = self.part
        now = self._border_ns()
        assert part is not None
        self.recorder.slices.append(Slice(part, self._since_ns, now, self._name))
        self._since_ns = now


class _Part:
    """The context of one part."""

    __slots__ = ("_lane", "_name")

    def __init__(self, lane: Lane, name: str) -> None:
        self._lane, self._name = lane, name

    def __enter__(self) -> None:
        self._lane.enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lane.leave()


_LANE: ContextVar[Lane | None] = ContextVar("parts", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


def part(name: str) -> AbstractContextManager[None]:
    """Return a context that marks a part, where a recorder listens."""
    lane = _LANE.get()
    return _NOTHING if lane is None else _Part(lane, name)


def note_shape(name: str, value: int) -> None:
    """Note a size of the work of the current part, where a recorder listens."""
    lane = _LANE.get()
    if lane is not None and lane.part is not None:
        lane.recorder.shapes.append(Shape(lane.part, name, value))


def find_shape(name: str) -> int | None:
    """Return the size that the current part has noted last under `name`; None if none, or where no recorder listens."""
    lane = _LANE.get()
    if lane is None:
        return None
    shapes = reversed(lane.recorder.shapes)
    return next((one.value for one in shapes if (one.part, one.name) == (lane.part, name)), None)


def find_current_part() -> str | None:
    """Return the part that the running thread is in; None before the first, or where no recorder listens."""
    lane = _LANE.get()
    return lane.part if lane is not None else None


class HandOver:
    """Work that a task hands to an engine's thread: the time until it starts there, and from its end until it is back.

    Without a recorder it does nothing.
    """

    __slots__ = ("_ended_ns", "_lane", "_requested_ns")

    def __init__(self) -> None:
        self._lane = _LANE.get()
        self._requested_ns = self._lane.suspend() if self._lane is not None else 0
        self._ended_ns = 0

    @contextmanager
    def on_thread(self) -> Iterator[None]:
        """Be around the work on the thread."""
        if self._lane is None:
            yield
            return
        recorder = self._lane.recorder
        started_ns = clock.now_ns()
        recorder.slices.append(Slice(HAND_OVER, self._requested_ns, started_ns, threading.current_thread().name))
        with recorder.watch_thread():
            lane = Lane(recorder, self._lane._wait, started_ns)
            token = _LANE.set(lane)
            try:
                yield
            finally:
                lane.finish()
                self._ended_ns = lane.end_ns
                _LANE.reset(token)

    def come_back(self) -> None:
        """Note that the task goes on; where the work did not start there is nothing to note."""
        if self._lane is not None and self._ended_ns:
            self._lane.resume(self._ended_ns)
