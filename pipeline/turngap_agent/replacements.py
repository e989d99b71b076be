"""Replaces engines that are stuck by fresh ones, while the agent serves.

An engine whose native code never returns holds its thread: nothing can end it but the process. It is abandoned with
its thread and its memory, and a fresh one is built from the same settings, if memory allows. Until that one is warm,
turns fail at once, and their callers hear an apology.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol, runtime_checkable

from turngap_agent import clock, loading, memory
from turngap_agent.deadlines import FaultKind, Overseer, StageError
from turngap_agent.engines import EngineKind, EngineSettings, Placement
from turngap_agent.errors import one_line
from turngap_agent.gpu.usage import read_memory
from turngap_agent.loading import Engines
from turngap_agent.meter import Meter
from turngap_agent.profile import Profile
from turngap_agent.telemetry.metrics import Metrics

MISSES = 3
"""So many missed deadlines in a row, with no answer between them, are those of a stuck engine: not all engines say
whether they are at work."""
MARGIN, RESERVE_MIB = 1.25, 256.0
"""A fresh engine may take so much more than the first one did, and so much has to be left."""
_log = logging.getLogger("turngap.engines")


@runtime_checkable
class Restarts(Protocol):
    """An engine that can end its stuck work itself, and begin anew: one in a process of its own."""

    async def restart(self) -> None:
        """End the process, and return when another is warm.

        Raises:
            EngineError: it does not start.
        """
        ...


class Replacements(Overseer):
    """Watches the engines of one agent."""

    def __init__(self, profile: Profile, engines: Engines, metrics: Metrics) -> None:
        self._engines, self._metrics = engines, metrics
        self._limits = profile.deadlines
        self._ready_within_s = profile.limits.ready_within_s
        self._misses: Counter[EngineKind] = Counter()
        self._replaced: Counter[EngineKind] = Counter()
        self._out: set[EngineKind] = set()
        """Stages that are out of service: their engine is being replaced."""
        self._lost: set[EngineKind] = set()
        """Stages whose engine is stuck, and cannot be replaced."""
        self._watched: set[EngineKind] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str:
        """Which stages are out of service, or lost."""
        parts = [f"{stage}: its engine is being replaced" for stage in sorted(self._out)]
        parts += [f"{stage}: its engine is stuck; start the agent again" for stage in sorted(self._lost)]
        return "; ".join(parts)

    def check(self, stage: EngineKind) -> None:
        """Raise a StageError (`REPLACED`) if the stage is out of service."""
        if stage in self._out:
            raise StageError(f"{stage}: its engine was stuck, and is being replaced", stage, FaultKind.REPLACED)

    def note_answer(self, stage: EngineKind) -> None:
        """Note that the stage's engine works."""
        self._misses[stage] = 0
        self._lost.discard(stage)

    def note_fault(self, fault: StageError, work: Meter) -> None:
        """Count a fault; an engine that missed its deadline is watched."""
        self._metrics.count_fault(fault.stage, fault.kind)
        if fault.deadline_ms is None:
            return
        self._misses[fault.stage] += 1
        if self._misses[fault.stage] >= MISSES:
            self._begin(fault.stage, f"{MISSES} deadlines missed in a row")
        elif work.is_busy:
            self._watch(fault.stage, work, self._limits.stuck_ms)

    def note_cancelled(self, stage: EngineKind, work: Meter, within_ms: float) -> None:
        """Watch an engine that still works for a call that was cancelled."""
        self._watch(stage, work, within_ms + self._limits.stuck_ms)

    async def close(self) -> None:
        """Stop watching and building."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch(self, stage: EngineKind, work: Meter, limit_ms: float) -> None:
        if stage not in self._watched | self._out:
            self._watched.add(stage)
            self._start(self._wait_for_end(stage, work, limit_ms))

    async def _wait_for_end(self, stage: EngineKind, work: Meter, limit_ms: float) -> None:
        try:
            ended = await work.wait_idle(limit_ms / 1000)
        finally:
            self._watched.discard(stage)
        if not ended:
            self._begin(stage, f"at work {limit_ms / 1000:g} s after it was given up")

    def _begin(self, stage: EngineKind, reason: str) -> None:
        """Have the engine replaced, unless it is being replaced, or must not be."""
        engine, settings = getattr(self._engines, stage), self._engines.settings.get(stage)
        if stage in self._out or engine is None or settings is None:
            return
        self._misses[stage] = 0
        problem = None if isinstance(engine, Restarts) else self._find_problem(stage, settings)
        if problem is not None:
            if stage not in self._lost:
                _log.error("%s: the engine is stuck (%s), and is not replaced: %s", stage, reason, problem)
                self._metrics.count_replacement(stage, "refused")
            self._lost.add(stage)
            return
        self._replaced[stage] += 1
        self._lost.discard(stage)
        self._out.add(stage)
        _log.error("%s: the engine is stuck (%s); a fresh one is being built", stage, reason)
        self._start(self._replace(stage, engine, settings))

    def _find_problem(self, stage: EngineKind, settings: EngineSettings) -> str | None:
        if settings.placement() in (Placement.REMOTE, Placement.OWN_PROCESS):
            return "its server is watched by itself, or by others"
        if self._replaced[stage] >= self._limits.replacements:
            return f"{self._replaced[stage]} were replaced already (deadlines.replacements)"
        needed = MARGIN * self._engines.host_mib.get(stage, 0.0) + RESERVE_MIB
        free = memory.available_mib()
        if free is not None and free < needed:
            return f"it needs {needed:.0f} MiB of memory, and {free:.0f} are free"
        on_gpu, gpu = self._engines.memory_mib.get(stage, 0.0), self._engines.gpu
        card = read_memory(gpu.choice) if gpu is not None and on_gpu > 0 else None
        if card is not None and card.free_mib < MARGIN * on_gpu:
            return f"it needs {MARGIN * on_gpu:.0f} MiB of GPU memory, and {card.free_mib:.0f} are free"
        return None

    async def _replace(self, stage: EngineKind, engine: Any, settings: EngineSettings) -> None:
        started_ns = clock.now_ns()
        try:
            async with asyncio.timeout(self._ready_within_s):
                if isinstance(engine, Restarts):
                    await engine.restart()
                else:
                    setattr(self._engines, stage, await self._build(stage, settings))
        except Exception as error:  # noqa: BLE001  # whatever a fresh engine raises, calls go on with apologies
            _log.error("%s: no fresh engine: %s: %s", stage, type(error).__name__, one_line(error))
            self._metrics.count_replacement(stage, "failed")
            self._lost.add(stage)
        else:
            took_s = (clock.now_ns() - started_ns) / 1e9
            _log.warning("%s: a fresh engine answers, after %.1f s", stage, took_s)
            self._metrics.count_replacement(stage, "replaced")
        finally:
            self._out.discard(stage)

    async def _build(self, stage: EngineKind, settings: EngineSettings) -> Any:
        fresh, wrap = await loading.load_one(settings), self._engines.wrap
        await loading.warm_up_one(settings, fresh)
        return fresh if wrap is None else wrap(stage, fresh)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
