"""Settings of hearing the caller: voice activity, and the end of a turn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.profile.settings import Settings


class SileroSettings(Settings):
    """Silero VAD at 8 kHz in ONNX Runtime."""

    engine: Literal["silero"] = "silero"
    model: str = "silero-vad"
    threads: int = Field(1, ge=1)


class EnergySettings(Settings):
    """Scripted: 32 ms windows over a level are speech. For tests and fault injection."""

    engine: Literal["energy"]
    threshold_dbfs: float = Field(-45.0, le=0)


class EndpointingSettings(Settings):
    """When the caller's turn has ended."""

    policy: Literal["silence"] = "silence"
    min_silence_ms: int = Field(300, ge=32, le=5000)
    """Silence after speech that ends the turn."""
    speech_probability: float = Field(0.5, gt=0, lt=1)
    silence_probability: float = Field(0.35, gt=0, lt=1)
    """Hysteresis: speech begins above the first and lasts until it falls below the second."""
    min_speech_ms: int = Field(96, ge=32)
    """Shorter bursts are no speech."""
    pre_roll_ms: int = Field(256, ge=0)
    """Audio before the detected start that is transcribed too."""
    max_turn_ms: int = Field(30_000, ge=1000)
    """A caller who talks longer is answered anyway."""
