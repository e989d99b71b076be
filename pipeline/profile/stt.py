"""Settings of speech-to-text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.profile.settings import EngineSettings, Settings, StreamPriority

WholeSeconds = Annotated[float | None, Field(gt=2)]


class FasterWhisperSettings(EngineSettings):
    """faster-whisper (CTranslate2)."""

    engine: Literal["faster_whisper"]
    model: str = "whisper-tiny.en"
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = "int8"
    threads: int = Field(1, ge=1)
    windows_s: tuple[Annotated[float, Field(ge=10, le=30)], ...] = (12.0, 15.0)
    """Encoder windows: the shortest that leaves 8 s after the speech; 30 s where none does, and where the text
    repeats itself."""
    whole_s: WholeSeconds = None
    """Of a turn that is longer, what was transcribed at a pause is kept, and only the rest is heard at the end; null:
    every turn is heard whole."""
    language: str = "en"


class WhisperSettings(EngineSettings):
    """Whisper or distil-whisper through transformers."""

    engine: Literal["whisper"]
    weights: str = "random"
    """`random` (distil-large-v3's exact architecture, scripted words), `tiny` (for tests), or a checkpoint's folder."""
    device: str = "cuda"
    stream_priority: StreamPriority = "high"
    window_s: int = Field(30, ge=10, le=30)
    whole_s: WholeSeconds = None
    """As for faster-whisper; random weights hear nothing, so that it changes their work alone."""
    script: str = "I would like to speak to somebody about my bill please."
    """What random weights "recognise": as many tokens are decoded, and two."""


class ScriptedSttSettings(Settings):
    """Says the same words after a set time. For tests and fault injection."""

    engine: Literal["scripted"]
    text: str = "scripted words"
    delay_ms: float = Field(40, ge=0)
    whole_s: WholeSeconds = None
