"""A measurement in parts: each is independent, and its result is written as soon as it is known."""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.speech.results import machine

SCHEMA = 2
"""2: `host_waits_a_frame` and `host_reads_a_frame` in place of `host_syncs`; the codec's output in every mode."""
RING_AGAIN_S = 5.0
"""A part that handles the first alarm as an error of its own is stopped by a later one."""


class LimitReachedError(BaseException):
    """The time limit was reached.

    Not an Exception: engines and compilers handle every Exception of a mode by trying a slower one.
    """


class Measurement:
    """A measurement on one device, with the results so far."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        """`options` has device, tiny, limit_s and out; the file is named after `name` and the device."""
        self.options = options
        self.name = name
        self.started = time.monotonic()
        self.device = torch.device(options.device)
        self.cuda = self.device.type == "cuda"
        self._limit_reached: LimitReachedError | None = None
        """Set by the alarm of the current part: an error that came of it is not the part's own."""
        self.result: dict[str, Any] = {
            "schema": SCHEMA,
            "machine": machine(self.device),
            "options": vars(options).copy(),
            "failed": {},
        }

    def remaining_s(self) -> float:
        """Return the seconds until the limit."""
        return float(self.options.limit_s - (time.monotonic() - self.started))

    def part(self, name: str, measure: Callable[[], Any], within: str | None = None) -> bool:
        """Run one part; store its result, or why it failed. Return whether it has a result.

        `within` names the dictionary in the result that the part belongs to; by default the part is one itself.
        """
        began = time.monotonic()
        label = name if within is None else f"{within} {name}"
        try:
            with self.alarm():
                measured = measure()
        except (Exception, LimitReachedError) as fault:  # noqa: BLE001 - the other parts are worth having
            self.result["failed"][label] = _describe(self._limit_reached or fault)
            print(f"  {label}: FAILED: {self.result['failed'][label]}", flush=True)
            return False
        else:
            print(f"  {label}: {time.monotonic() - began:.1f} s", flush=True)
            if within is None:
                self.result[name] = measured | {"took_s": round(time.monotonic() - began, 2)}
            else:
                self.result.setdefault(within, {})[name] = measured
            return True
        finally:
            self.write()

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raise LimitReachedError in a part that runs past the limit; the parts after it get a second each."""
        self._limit_reached = None

        def ring(*_: Any) -> None:
            self._limit_reached = LimitReachedError(f"the limit of {self.options.limit_s:.0f} s was reached")
            raise self._limit_reached

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, self.remaining_s()), RING_AGAIN_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def timed(self, work: Callable[[], Any]) -> float:
        """Return the seconds that `work` takes, with its work on the device."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Wait until the device has finished all its work."""
        if self.cuda:
            torch.cuda.synchronize()

    def memory(self) -> dict[str, float]:
        """Return the memory of the process, now and at its peak, in MiB."""
        if not self.cuda:
            import resource

            return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        free, total = torch.cuda.mem_get_info()
        return {
            "allocated": torch.cuda.memory_allocated() / 2**20,
            "reserved": torch.cuda.memory_reserved() / 2**20,
            "peak": torch.cuda.max_memory_allocated() / 2**20,
            "card_used": (total - free) / 2**20,
        }

    def write(self) -> None:
        """Write the result so far to a file named after the device."""
        folder = Path(self.options.out)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", self.result["machine"]["device"].lower()).strip("-")
        path = folder / f"{self.name}-{'tiny-' if self.options.tiny else ''}{name}.json"
        self.result["file"] = str(path)
        self.result["took_s"] = round(time.monotonic() - self.started, 1)
        path.write_text(json.dumps(self.result, indent=1) + "\n", "utf-8")


def _describe(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:400]}"
