"""Declares the engine: Whisper on faster-whisper (CTranslate2)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from turngap_agent.engines import CoreSettings, GpuMemory, LoadedEngine, Placement, SttSettings, weights_memory

ComputeType = Literal[
    "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
]
"""CTranslate2's own names."""
_BYTES_PER_PARAMETER = {"float32": 4, "int8": 1, "int8_float32": 1, "int8_float16": 1, "int8_bfloat16": 1}
"""Two, for all others."""
_PARAMETERS = {"large-v3": 1_550e6, "large-v3-turbo": 809e6, "distil-large-v3": 756e6}
"""Parameter counts as their authors publish them."""


def _default_window(others: dict[str, Any]) -> Literal["short", "full"]:
    return "short" if others.get("device") == "cpu" else "full"


class FasterWhisperSettings(SttSettings, CoreSettings):
    """faster-whisper (CTranslate2)."""

    install = "turngap[cpu]"
    packages = ("faster_whisper",)
    lower_gpu_memory = "take a smaller stt.model"

    engine: Literal["faster_whisper"]
    model: str = "whisper-tiny.en"
    """An entry of `weights.toml`, or the folder of a model for CTranslate2."""
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: ComputeType = "int8"
    """`float16` or `int8_float16` on a GPU, `int8` or `float32` on a CPU."""
    threads: int = Field(1, ge=1)
    """On a CPU."""
    window: Literal["short", "full"] = Field(default_factory=_default_window)
    """What is encoded of an utterance: only the utterance, followed by silence that was encoded once (the default on a
    CPU), or 30 s (the default on a GPU)."""
    language: str = "en"
    no_speech: float = Field(1.0, gt=0, le=1)
    """Audio that holds no speech with more than this probability, by the model, has no words; 1: its words are always
    used. Words that it finds in background voices or music are usually invented."""

    @model_validator(mode="after")
    def _window_fits_device(self) -> FasterWhisperSettings:
        if self.window == "short" and self.device != "cpu":
            raise ValueError(f"window: short needs device: cpu; for {self.device} set window: full")
        return self

    def build(self) -> LoadedEngine:
        """Load the model."""
        from turngap_agent.stt.faster_whisper.engine import FasterWhisper

        return FasterWhisper(self)

    def pinned_weights(self) -> str:
        """The model."""
        return self.model

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """Weights by the model's name; of an unknown one, those of the largest."""
        if self.placement() is not Placement.GPU:
            return None
        name = max((name for name in _PARAMETERS if self.model.endswith(name)), key=len, default="large-v3")
        return weights_memory(name, _PARAMETERS[name], _BYTES_PER_PARAMETER.get(self.compute_type, 2))
