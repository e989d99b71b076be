"""Replaces engines that are stuck by fresh ones, while the agent serves.

An engine whose native code never returns holds its thread: nothing can end it but the process. It is abandoned with
its thread and its memory, and a fresh one is built from the same settings, if memory allows. Calls that wait for the
stuck one, or come meanwhile, are answered by the fresh one if it is ready within their deadlines; where the first one
took longer than that to load, they fail at once, and their callers hear an apology. A spare (`spares`) takes its place
at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from turngap_agent import clock, memory
from turngap_agent.deadlines import EngineFailure, Overseer, StageError
from turngap_agent.engines import EngineKind, EngineSettings, Placement
from turngap_agent.errors import EngineError, TurngapError, one_line
from turngap_agent.gpu.usage import read_memory
from turngap_agent.loading import Engines
from turngap_agent.meter import Meter
from turngap_agent.profile import Profile
from turngap_agent.spares import Spares, build_engine
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
        self._engines, self._metrics, self._spares = engines, metrics, Spares(engines)
        self._limits = profile.deadlines
        self._ready_within_s = profile.limits.ready_within_s
        self._misses: Counter[EngineKind] = Counter()
        self._replaced: Counter[EngineKind] = Counter()
        self._out: set[EngineKind] = set()
        """Stages that are out of service: their engine is being replaced."""
        self._lost: set[EngineKind] = set()
        """Stages whose engine is stuck, and cannot be replaced."""
        self._watched: set[EngineKind] = set()
        self._late: dict[EngineKind, Meter] = {}
        """By stage, work that is past its deadline, where no call has been answered since it began."""
        self._waiting: Counter[EngineKind] = Counter()
        self._answered_s: dict[EngineKind, float] = {}
        self._changes: dict[EngineKind, asyncio.Future[bool]] = {}
        self._due_s: dict[EngineKind, float] = {}
        """When the fresh engine should be ready, by how long the first one took."""
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
            raise StageError(f"{stage}: its engine was stuck, and is being replaced", stage, EngineFailure.REPLACED)

    async def wait_ready(self, stage: EngineKind, within_s: float) -> None:
        """Wait for the fresh engine of a stage that is out of service, if it should be ready in time.

        Raises:
            StageError: (`REPLACED`) it is not.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while stage in self._out:
            left_s = until_s - loop.time()
            if left_s <= 0 or self._due_s.get(stage, 0.0) > until_s:
                self.check(stage)
            await asyncio.wait({self.change(stage)}, timeout=left_s)

    def change(self, stage: EngineKind) -> asyncio.Future[bool]:
        """Return what is done when the stage's engine has been replaced, or could not be."""
        if (change := self._changes.get(stage)) is None or change.done():
            change = self._changes[stage] = asyncio.get_running_loop().create_future()
        return change

    def is_out(self, stage: EngineKind) -> bool:
        """Whether the stage's engine is being replaced."""
        return stage in self._out

    @contextmanager
    def waiting(self, stage: EngineKind) -> Iterator[None]:
        """Note that a call waits for the stage's engine; if that one is late for another call it is replaced."""
        self._waiting[stage] += 1
        try:
            self._replace_if_waited_for(stage)
            yield
        finally:
            self._waiting[stage] -= 1

    def note_answer(self, stage: EngineKind) -> None:
        """Note that the stage's engine works."""
        self._misses[stage] = 0
        self._late.pop(stage, None)
        self._answered_s[stage] = asyncio.get_running_loop().time()
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
            self._watch(fault.stage, work, 0.0)
            self._note_late(fault.stage, work, asyncio.get_running_loop().time() - fault.deadline_ms / 1000)

    def note_cancelled(self, stage: EngineKind, work: Meter, within_ms: float) -> None:
        """Watch an engine that still works for a call that was cancelled: it is late once the deadline is over."""
        self._watch(stage, work, within_ms)

    async def keep_spares(self) -> None:
        """Build the spare engines that the profile wants.

        Raises:
            EngineError: the memory does not allow one, or it does not load.
        """
        for stage in self._limits.spares:
            settings = self._engines.settings[stage]
            if (problem := self._find_problem(stage, settings)) is not None:
                raise EngineError(f"deadlines.spares: {stage}: {problem}; leave it out")
            await self._spares.add(stage, settings)

    async def close(self) -> None:
        """Stop watching and building; close the spares. One that fails to close keeps nothing else from closing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._spares.close()
        except Exception as error:  # noqa: BLE001  # whatever it raises, the agent ends, and nobody was to use it
            _log.error("a spare engine does not close: %s: %s", type(error).__name__, one_line(error))

    def _note_late(self, stage: EngineKind, work: Meter, since_s: float) -> None:
        """Note work that is past its deadline, if no call has been answered since."""
        if self._answered_s.get(stage, 0.0) < since_s:
            self._late[stage] = work
            self._replace_if_waited_for(stage)

    def _replace_if_waited_for(self, stage: EngineKind) -> None:
        """Have an engine replaced that is past a deadline, has answered nobody since, and is waited for by others."""
        if (work := self._late.get(stage)) is not None and work.is_busy and self._waiting[stage]:
            del self._late[stage]
            self._begin(stage, "past its deadline, and other calls wait for it")

    def _watch(self, stage: EngineKind, work: Meter, within_ms: float) -> None:
        """Watch work that should stop within that time; where it does not, the engine is late, and at last stuck."""
        if stage not in self._watched | self._out:
            self._watched.add(stage)
            self._start(self._wait_for_end(stage, work, within_ms))

    async def _wait_for_end(self, stage: EngineKind, work: Meter, within_ms: float) -> None:
        since_s, stuck_ms = asyncio.get_running_loop().time(), self._limits.stuck_ms
        try:
            ended = await work.wait_idle(within_ms / 1000)
            if not ended and within_ms:
                self._note_late(stage, work, since_s)
            ended = ended or await work.wait_idle(stuck_ms / 1000)
        finally:
            self._watched.discard(stage)
        if not ended:
            self._begin(stage, f"at work {(within_ms + stuck_ms) / 1000:g} s after it was given up")

    def _begin(self, stage: EngineKind, reason: str) -> None:
        """Have the engine replaced, unless it is being replaced, or must not be."""
        engine, settings = getattr(self._engines, stage), self._engines.settings.get(stage)
        if stage in self._out or engine is None or settings is None:
            return
        self._misses[stage] = 0
        has_spare = stage in self._spares
        problem = None if has_spare or isinstance(engine, Restarts) else self._find_problem(stage, settings)
        if problem is not None:
            if stage not in self._lost:
                _log.error("%s: the engine is stuck (%s), and is not replaced: %s", stage, reason, problem)
                self._metrics.count_replacement(stage, "refused")
            self._lost.add(stage)
            return
        self._replaced[stage] += 1
        self._lost.discard(stage)
        self._out.add(stage)
        self._late.pop(stage, None)
        due_in_s = 0.0 if has_spare else self._engines.load_s.get(stage, 0.0)
        self._due_s[stage] = asyncio.get_running_loop().time() + due_in_s
        follows = "its spare takes its place" if has_spare else "a fresh one is being built"
        _log.error("%s: the engine is stuck (%s); %s", stage, reason, follows)
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
        started_ns, ready = clock.now_ns(), False
        try:
            async with asyncio.timeout(self._ready_within_s):
                if isinstance(engine, Restarts):
                    await engine.restart()
                else:
                    fresh = self._spares.take(stage) or await build_engine(self._engines, stage, settings)
                    setattr(self._engines, stage, fresh)
        except Exception as error:  # noqa: BLE001  # whatever a fresh engine raises, calls go on with apologies
            _log.error("%s: no fresh engine: %s: %s", stage, type(error).__name__, one_line(error))
            self._metrics.count_replacement(stage, "failed")
            self._lost.add(stage)
        else:
            ready = True
            took_s = (clock.now_ns() - started_ns) / 1e9
            _log.warning("%s: a fresh engine answers, after %.1f s", stage, took_s)
            self._metrics.count_replacement(stage, "replaced")
            if stage in self._limits.spares:
                self._start(self._keep_spare(stage, settings))
        finally:
            self._out.discard(stage)
            if (change := self._changes.pop(stage, None)) is not None and not change.done():
                change.set_result(ready)

    async def _keep_spare(self, stage: EngineKind, settings: EngineSettings) -> None:
        """Build the next spare; without one the next stuck engine is replaced by one that has to load."""
        problem = self._find_problem(stage, settings)
        try:
            if problem is None:
                await self._spares.add(stage, settings)
        except TurngapError as error:
            problem = one_line(error)
        if problem is not None:
            _log.error("%s: no further spare: %s", stage, problem)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
