"""Spare engines: a second warm one of a stage, which takes the place of a stuck one at once.

A fresh engine takes as long to load as the first one did, and who asks for the stage meanwhile may hear an apology. A
spare costs the engine's memory a second time, and no processor time while it waits.
"""

from __future__ import annotations

from typing import Any

from turngap_agent import loading
from turngap_agent.engines import EngineKind, EngineSettings
from turngap_agent.loading import Engines


async def build_engine(engines: Engines, stage: EngineKind, settings: EngineSettings) -> Any:
    """Return a fresh engine of `settings`, warm, with what is put around those of `engines`.

    Raises:
        EngineError: it does not load, or failed its first work.
        WeightsError: its model is missing and cannot be fetched.
    """
    fresh = await loading.load_one(settings)
    await loading.warm_up_one(settings, fresh)
    return fresh if engines.wrap is None else engines.wrap(stage, fresh)


class Spares:
    """The spare engines of one agent, at most one a stage."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._warm: dict[EngineKind, Any] = {}
        self._coming: set[EngineKind] = set()
        """Stages whose spare is being built."""

    def __contains__(self, stage: object) -> bool:
        return stage in self._warm

    def take(self, stage: EngineKind) -> Any:
        """Return the stage's spare, which is none from then on; None where there is none."""
        return self._warm.pop(stage, None)

    async def add(self, stage: EngineKind, settings: EngineSettings) -> None:
        """Build a spare, unless there is one, or one is being built.

        Raises:
            TurngapError: as `build_engine`.
        """
        if stage in self._warm or stage in self._coming:
            return
        self._coming.add(stage)
        try:
            self._warm[stage] = await build_engine(self._engines, stage, settings)
        finally:
            self._coming.discard(stage)

    async def close(self) -> None:
        """Close all of them, as `Engines.close` does."""
        spares = tuple(self._warm.values())
        self._warm.clear()
        await loading.close_all(spares)
