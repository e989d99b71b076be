"""One run of measurements: each part is independent, and is written as soon as it is known."""

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

from benchmarks.speech.figures import machine

SCHEMA = 1


class Run:
    """The result as far as it is known, on one device."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        """`options` has device, tiny, limit_s and out; the file is called after `name` and the device."""
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

    def left(self) -> float:
        """Seconds until the run's own limit."""
        return float(self.options.limit_s - (time.monotonic() - self.started))

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Run one part; keep what it gives, or why it failed."""
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
        """Raises TimeoutError in what runs past the limit; the parts after it get a second each."""

        def ring(*_: Any) -> None:
            raise TimeoutError(f"the limit of {self.options.limit_s:.0f} s was reached")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, self.left()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def timed(self, work: Callable[[], Any]) -> float:
        """Seconds `work` takes, its device work included."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def memory(self) -> dict[str, float]:
        """MiB of the process: now, and the most so far."""
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
        """The result so far, in a file that the device's name names."""
        folder = Path(self.options.out)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", self.result["machine"]["device"].lower()).strip("-")
        path = folder / f"{self.name}-{'tiny-' if self.options.tiny else ''}{name}.json"
        self.result["file"] = str(path)
        self.result["took_s"] = round(time.monotonic() - self.started, 1)
        path.write_text(json.dumps(self.result, indent=1) + "\n", "utf-8")
