"""Settings of speech-to-text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from turngap_agent.documents import FrozenModel
from turngap_agent.profile.settings import EngineSettings, StreamPriority

ComputeType = Literal[
    "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
]
"""CTranslate2's own names."""
WholeSeconds = Annotated[float | None, Field(gt=2)]


def _window(others: dict[str, Any]) -> Literal["short", "full"]:
    return "short" if others.get("device") == "cpu" else "full"


class FasterWhisperSettings(EngineSettings):
    """faster-whisper (CTranslate2)."""

    engine: Literal["faster_whisper"]
    model: str = "whisper-tiny.en"
    """An entry of `weights.toml`, or the folder of a model for CTranslate2."""
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: ComputeType = "int8"
    """`float16` or `int8_float16` on a GPU, `int8` or `float32` on a CPU."""
    threads: int = Field(1, ge=1)
    """On a CPU."""
    window: Literal["short", "full"] = Field(default_factory=_window)
    """What is encoded of an utterance: itself alone, with silence that was encoded once set behind it (the default on a
    CPU), or 30 s (on a GPU)."""
    whole_s: WholeSeconds = None
    """Of a turn that is longer, what was transcribed at a pause is kept, and only the rest is heard at the end; null:
    every turn is heard whole."""
    language: str = "en"
    no_speech: float = Field(1.0, gt=0, le=1)
    """Audio in which the model finds no speech with more than this probability has no words; 1: its words are taken as
    they are. What it makes of voices in the background or of music is invented as a rule."""

    @model_validator(mode="after")
    def _where_it_can(self) -> FasterWhisperSettings:
        if self.window == "short" and self.device != "cpu":
            raise ValueError(f"window: short needs device: cpu; for {self.device} set window: full")
        return self


class WhisperSettings(EngineSettings):
    """Whisper or distil-whisper through transformers."""

    engine: Literal["whisper"]
    weights: str = "random"
    """`random` (distil-large-v3's exact architecture, scripted words), `tiny` (for tests), an entry of `weights.toml`
    (`distil-whisper-large-v3`), or a checkpoint's folder."""
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "high"
    window_s: int = Field(30, ge=10, le=30)
    whole_s: WholeSeconds = None
    """As for faster-whisper; random weights hear nothing, so that it changes their work alone."""
    script: str = "I would like to speak to somebody about my bill please."
    """What random weights "recognise": as many tokens are decoded, and two."""


class ScriptedSttSettings(FrozenModel):
    """Says the same words after a set time. For tests and fault injection."""

    engine: Literal["scripted"]
    text: str = "scripted words"
    delay_ms: float = Field(40, ge=0)
    whole_s: WholeSeconds = None
