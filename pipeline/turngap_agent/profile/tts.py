"""Settings of the synthesiser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel
from turngap_agent.profile.settings import EngineSettings, StreamPriority


class HibariSettings(EngineSettings):
    """hibari-tts in ONNX Runtime."""

    engine: Literal["hibari"]
    threads: int = Field(1, ge=1)
    speed: float = Field(1.0, gt=0.2, lt=5)


class VoicePrompt(FrozenModel):
    """Ten seconds or so of the voice to speak with, and what it says."""

    audio: str
    """An audio file, mono or to be mixed down."""
    text: str


class CsmSettings(EngineSettings):
    """CSM-1B; one thread, frame by frame."""

    engine: Literal["csm"]
    weights: str = "real"
    """`real` (pinned, gated), `random` (the exact architecture, for its speed), `tiny` (for tests), or a folder."""
    device: Literal["cpu", "cuda"] = "cuda"
    stream_priority: StreamPriority = "high"
    """A frame that is late is heard; a token that is late is not."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of all but the codec, which is float32; auto: bfloat16 on a GPU."""
    mode: Literal["auto", "compiled", "graphs", "eager"] = "auto"
    temperature: float = Field(0.9, ge=0, le=2)
    """0: the likeliest code, always."""
    top_k: int = Field(50, ge=1, le=2048)
    max_frames: int = Field(250, ge=1, le=1500)
    """Longest piece, 80 ms each: what goes on for longer has run away."""
    voice_prompt: VoicePrompt | None = None
    context_positions: int = Field(2048, ge=256, le=2048)
    slots: int = Field(2, ge=1, le=16)
    """How many clauses are spoken at once; more wait."""
    seed: int = 0


class ScriptedTtsSettings(FrozenModel):
    """Speaks a tone of a length set by the text after a set time."""

    engine: Literal["scripted"]
    first_audio_ms: float = Field(30, ge=0)
    ms_per_character: float = Field(50, gt=0)
    head_silence_ms: float = Field(0, ge=0)
