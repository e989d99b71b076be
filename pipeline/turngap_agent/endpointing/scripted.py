"""A turn model that returns the same probability after a fixed time. For tests and fault injection; no model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.clock import now_ns, sleep_until_ns
from turngap_agent.endpointing import AudioF32
from turngap_agent.engines import LoadedEngine, TurnSettings


class ScriptedTurnSettings(TurnSettings):
    """Returns the same probability after a fixed time. For tests and fault injection."""

    engine: Literal["scripted"]
    probability: float = Field(1.0, ge=0, le=1)
    delay_ms: float = Field(0, ge=0)

    def build(self) -> LoadedEngine:
        """Return the engine; nothing is loaded."""
        return ScriptedTurnModel(self)


class ScriptedTurnModel:
    """Returns its script's probability, whatever the audio."""

    def __init__(self, settings: ScriptedTurnSettings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"scripted, {self._settings.probability:g} after {self._settings.delay_ms:g} ms"

    async def warm_up(self) -> None:
        """Nothing to warm."""

    async def completeness(self, audio: AudioF32) -> float:
        """Return the script's probability, `delay_ms` after the call."""
        await sleep_until_ns(now_ns() + round(self._settings.delay_ms * 1e6))
        return self._settings.probability

    async def close(self) -> None:
        """Nothing to free."""
