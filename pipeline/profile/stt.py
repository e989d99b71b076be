"""Settings of speech-to-text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.profile.settings import EngineSettings, Settings

WholeSeconds = Annotated[float | None, Field(gt=2)]


class FasterWhisperSettings(EngineSettings):
    """faster-whisper (CTranslate2)."""

    engine: Literal["faster_whisper"]
    model: str = "whisper-tiny.en"
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = "int8"
    threads: int = Field(1, ge=1)
    window: Literal["short", "full"] = "short"
    """What is encoded of an utterance: itself alone, with silence that was encoded once set behind it, or 30 s."""
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
    """`random` (distil-large-v3's exact architecture, scripted words), `tiny` (for tests), or a checkpoint's folder."""
    device: str = "cuda"
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
