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

SCHEMA = 1


class Measurement:
    """A measurement on one device, with the results so far."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        """`options` has device, tiny, limit_s and out; the file is named after `name` and the device."""
        self.options = options
        self.name = name
        self.started = time.monotonic()
        self.device = torch.device(options.device)
        self.cuda = self.device.type == "cuda"
        self.result: dict[str, Any] = {
            "schema": SCHEMA,
            "machine": machine(self.device),
            "options": vars(options).copy(),
            "failed": {},
        }

    def remaining_s(self) -> float:
        """Return the seconds until the limit."""
        return float(self.options.limit_s - (time.monotonic() - self.started))

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Run one part; store its result, or why it failed."""
        began = time.monotonic()
        try:
            with self.alarm():
                self.result[name] = measure()
        except Exception as fault:  # noqa: BLE001 - the other parts are worth having
            self.result["failed"][name] = f"{type(fault).__name__}: {' '.join(str(fault).split())[:400]}"
            print(f"  {name}: FAILED: {self.result['failed'][name]}", flush=True)
        else:
            print(f"  {name}: {time.monotonic() - began:.1f} s", flush=True)
            self.result[name]["took_s"] = round(time.monotonic() - began, 2)
        self.write()

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raise TimeoutError in a part that runs past the limit; the parts after it get a second each."""

        def ring(*_: Any) -> None:
            raise TimeoutError(f"the limit of {self.options.limit_s:.0f} s was reached")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, self.remaining_s()))
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
