"""Declares the engine: Silero VAD at 8 kHz in ONNX Runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.engines import CoreSettings, LoadedEngine, VadSettings


class SileroSettings(VadSettings, CoreSettings):
    """Silero VAD at 8 kHz in ONNX Runtime."""

    install = "turngap[cpu]"
    packages = ("onnxruntime",)

    engine: Literal["silero"] = "silero"
    model: str = "silero-vad"
    """An entry of `weights.toml`."""
    threads: int = Field(1, ge=1)

    def build(self) -> LoadedEngine:
        """Load the model."""
        from turngap_agent.endpointing.silero.engine import SileroEngine

        return SileroEngine(self)

    def pinned_weights(self) -> str:
        """The model."""
        return self.model
