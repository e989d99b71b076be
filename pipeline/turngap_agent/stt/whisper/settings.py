"""Declares the engine: Whisper and distil-whisper through transformers, on torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from turngap_agent.engines import (
    CoreSettings,
    GpuMemory,
    LoadedEngine,
    Placement,
    StreamPriority,
    SttSettings,
    weights_memory,
)

_DISTIL_LARGE_V3_PARAMETERS = 756e6
"""As its authors publish it."""


class WhisperSettings(SttSettings, CoreSettings):
    """Whisper or distil-whisper through transformers."""

    install = "turngap[csm]"
    packages = ("torch", "transformers")
    on_torch = True

    engine: Literal["whisper"]
    weights: str = "random"
    """`random` (distil-large-v3's exact architecture, scripted words), `tiny` (for tests), an entry of `weights.toml`
    (`distil-whisper-large-v3`), or a checkpoint's folder."""
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "high"
    window_s: int = Field(30, ge=10, le=30)
    decoder: Literal["transformers", "static"] = "transformers"
    """`static`: fixed shapes, and on a GPU one captured graph for a token, in place of transformers' eager decoding.
    The same ids; not measured on a GPU yet."""
    script: str = "I would like to speak to somebody about my bill please."
    """What random weights "recognise": as many tokens are decoded, plus two. Their words do not depend on the audio, so
    `whole_s` changes only their work."""

    @classmethod
    def note_on_random_weights(cls, data: Mapping[str, Any]) -> str:
        """Eager decoding is slower than that of production, CTranslate2's."""
        if data.get("weights", "random") != "random" or data.get("decoder") == "static":
            return ""
        return "with transformers' eager decoding in speech-to-text: FAIL is not conclusive for CTranslate2"

    def build(self) -> LoadedEngine:
        """Load the model; on a GPU this takes up to minutes."""
        from turngap_agent.stt.whisper.engine import Whisper

        return Whisper(self)

    def pinned_weights(self) -> str:
        """The weights, if they are pinned."""
        return self.weights

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """Counted as distil-large-v3 in float16."""
        if self.placement() is not Placement.GPU:
            return None
        return weights_memory("distil-large-v3", _DISTIL_LARGE_V3_PARAMETERS, 2)
