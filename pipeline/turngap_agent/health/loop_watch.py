"""Watches the event loop from a thread: each time it stood still, for how long, why, and in which code.

The loop notes a beat every 10 ms; the thread looks every 10 ms whether it did, and if not where the loop's thread is.
How late the *thread* itself runs, less its wait for a core, is its wait for the interpreter (the GIL): what any thread
that had wanted to run then would have waited for. A wait shorter than the period may fall between two looks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

from turngap_agent.clock import now_ns
from turngap_agent.health.ring import StackRing
from turngap_agent.health.run_queue import RunQueue
from turngap_agent.health.stacks import describe_stack, leave_out_loop
from turngap_agent.tracing import HEALTH_LOG, read_boot_id

PERIOD_NS = 10_000_000
LEAST_NS = 10_000_000
"""The loop, or the watching thread, was late by so much: a line of the log."""
MOST_LINES = 20_000
"""Of the log; what comes later is counted in its last line."""
_log = logging.getLogger("turngap.health")


class LoopWatch:
    """Writes the log of one event loop's process, and samples its threads if there is a ring.

    Raises:
        OSError: the folder can't be written.
    """

    def __init__(self, folder: Path, ring: StackRing | None = None) -> None:
        self._file = (folder / HEALTH_LOG).open("a", encoding="utf-8")
        self._file.write(json.dumps({"kind": "start", "boot_id": read_boot_id()}) + "\n")
        self._file.flush()
        self._ring = ring
        self._lines = self._lost = 0
        self._ended: deque[dict[str, Any]] = deque()
        self._stacks: Counter[tuple[str, ...]] = Counter()
        self._due_ns = 0
        self._stop = threading.Event()
        self._beat: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Start, on the loop that is to be watched."""
        self._loop_thread = threading.get_ident()
        self._own_time = RunQueue.of_this_thread()
        self._loop_before = self._own_time.read()
        self._due_ns = now_ns() + PERIOD_NS
        self._beat = asyncio.get_running_loop().call_later(PERIOD_NS / 1e9, self._note_beat)
        self._thread.start()

    async def stop(self) -> None:
        """Stop the thread; the files are complete then."""
        if self._beat is not None:
            self._beat.cancel()
        self._stop.set()
        await asyncio.to_thread(self._thread.join)
        self._write_ended()
        if self._lost:
            self._file.write(json.dumps({"kind": "lost", "lines": self._lost}) + "\n")
        self._file.close()
        self._own_time.close()
        if self._ring is not None:
            self._ring.close()

    def _note_beat(self) -> None:
        """Run on the loop: note that it is alive and, if it comes late, what it waited for since it was due."""
        now, used = now_ns(), self._own_time.read()
        if now - self._due_ns >= LEAST_NS:
            stack = self._stacks.most_common(1)
            self._ended.append(
                {
                    "kind": "loop",
                    "start_ns": self._due_ns,
                    "end_ns": now,
                    # Both count from the last beat, up to 10 ms before it was due.
                    "ran_ms": _ms(min(used.ran_ns - self._loop_before.ran_ns, now - self._due_ns)),
                    "queued_ms": _ms(min(used.queued_ns - self._loop_before.queued_ns, now - self._due_ns)),
                    "stack": list(stack[0][0]) if stack else [],
                }
            )
        self._stacks = Counter()
        self._loop_before = used
        self._due_ns = now_ns() + PERIOD_NS
        self._beat = asyncio.get_running_loop().call_later(PERIOD_NS / 1e9, self._note_beat)

    def _watch(self) -> None:
        own = RunQueue.of_this_thread()
        before = own.read()
        due_ns = now_ns()
        try:
            while not self._stop.wait(max(0.0, (due_ns + PERIOD_NS - now_ns()) / 1e9)):
                due_ns += PERIOD_NS
                now, used = now_ns(), own.read()
                queued_ns = used.queued_ns - before.queued_ns
                if now - due_ns - queued_ns >= LEAST_NS:
                    self._ended.append(
                        {"kind": "interpreter", "start_ns": due_ns, "end_ns": now, "queued_ms": _ms(queued_ns)}
                    )
                before = used
                if now - self._due_ns >= LEAST_NS // 2:
                    stack = describe_stack(sys._current_frames().get(self._loop_thread))
                    self._stacks[leave_out_loop(stack)] += 1
                if self._ring is not None:
                    self._ring.sample(now)
                self._write_ended()
                due_ns = max(due_ns, now - PERIOD_NS)
        except OSError as error:  # the disk is full: the agent goes on without its log
            _log.warning("the log of the process's health ends here: %s", error.strerror or error)
        finally:
            own.close()

    def _write_ended(self) -> None:
        while self._ended:
            line = self._ended.popleft()
            if self._lines < MOST_LINES:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
                self._lines += 1
            else:
                self._lost += 1


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
