"""Loads one engine of a profile as the agent does, and splits the time: import, load, first use."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from turngap_agent import loading
from turngap_agent.engines import EngineSettings


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A loaded, warm engine, and the time that took."""

    engine: Any
    import_ms: float
    """Of the engine's modules and packages; the agent's own, and numpy, are there before."""
    load_ms: float
    first_use_ms: float
    """The warm-up, which does the engine's first work."""

    @property
    def total_ms(self) -> float:
        """All of it."""
        return self.import_ms + self.load_ms + self.first_use_ms


async def load_engine(settings: EngineSettings) -> ColdStart:
    """Load and warm up the engine that `settings` declare.

    Raises:
        EngineError: it is not installed, does not load, or fails its first work.
        WeightsError: its model is missing and cannot be fetched.
    """
    began = time.perf_counter()
    with measure_imports() as imports:
        engine = await loading.load_one(settings)
    built = time.perf_counter()
    await loading.warm_up_one(settings, engine)
    warm = time.perf_counter()
    imported_s = imports.seconds
    return ColdStart(engine, 1e3 * imported_s, 1e3 * (built - began - imported_s), 1e3 * (warm - built))


class ImportTime:
    """The time spent in imports so far."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def measure_imports() -> Iterator[ImportTime]:
    """Add up the time of import statements, on all threads; an import inside another counts once."""
    measured, depth = ImportTime(), threading.local()
    original = builtins.__import__

    def timed_import(*args: Any, **more: Any) -> Any:
        if getattr(depth, "inside", False):
            return original(*args, **more)
        depth.inside, began = True, time.perf_counter()
        try:
            return original(*args, **more)
        finally:
            depth.inside = False
            measured.seconds += time.perf_counter() - began

    builtins.__import__ = timed_import
    try:
        yield measured
    finally:
        builtins.__import__ = original
