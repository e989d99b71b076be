"""Declares the engine: Smart Turn v3.2 in ONNX Runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.engines import CoreSettings, LoadedEngine, TurnSettings


class SmartTurnSettings(TurnSettings, CoreSettings):
    """Smart Turn v3.2 in ONNX Runtime: whether an utterance sounds complete."""

    install = "turngap[cpu]"
    packages = ("onnxruntime",)

    engine: Literal["smart_turn"] = "smart_turn"
    model: str = "smart-turn-v3"
    """An entry of `weights.toml`."""
    threads: int = Field(1, ge=1)

    def build(self) -> LoadedEngine:
        """Load the model."""
        from turngap_agent.endpointing.smart_turn.engine import SmartTurn

        return SmartTurn(self)

    def pinned_weights(self) -> str:
        """The model."""
        return self.model
