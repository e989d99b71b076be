"""Declares the engine: hibari-tts in ONNX Runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.engines import CoreSettings, LoadedEngine, TtsSettings


class HibariSettings(TtsSettings, CoreSettings):
    """hibari-tts in ONNX Runtime."""

    install = "turngap[cpu]"
    packages = ("hibari",)

    engine: Literal["hibari"]
    threads: int = Field(1, ge=1)
    speed: float = Field(1.0, gt=0.2, lt=5)

    phrases: tuple[str, ...] = ()
    """Clauses with which replies often begin, spoken while the agent starts: in a reply they cost no synthesis. The
    reply's clause must be the same to the letter, its mark too."""

    def build(self) -> LoadedEngine:
        """Load the model."""
        from turngap_agent.tts.hibari.engine import Hibari

        return Hibari(self)

    def pinned_weights(self) -> str:
        """The package's own model files."""
        return "hibari-tts"
