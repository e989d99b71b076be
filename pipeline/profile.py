"""Profiles: which engine, model, device and limits each stage of the agent has, as data.

A profile is a YAML file in `pipeline/profiles/` (given by name) or anywhere (given by path). Every engine has its own
settings model here, told apart by `engine`, so that a misspelt key is found before anything loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from pipeline import documents
from pipeline.errors import ProfileError

PROFILES = Path(__file__).parent / "profiles"


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class FasterWhisperSettings(Settings):
    """faster-whisper (CTranslate2)."""

    engine: Literal["faster_whisper"]
    model: str = "whisper-tiny.en"
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = "int8"
    threads: int = Field(1, ge=1)
    windows_s: tuple[Annotated[float, Field(ge=10, le=30)], ...] = (12.0, 15.0)
    """Encoder windows: the shortest that leaves 8 s after the speech; 30 s where none does, and where the text
    repeats itself."""
    language: str = "en"


class CTranslate2Settings(Settings):
    """A Llama-shaped chat model on CTranslate2."""

    engine: Literal["ctranslate2"]
    model: str = "smollm2-135m-instruct"
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = "int8"
    threads: int = Field(1, ge=1)
    system_prompt: str
    template: Literal["chatml", "dialogue"] = "chatml"
    """How the conversation is written down: with the chat model's marks, or as lines after `system_prompt`'s examples.

    A small model answers at length in the first and to the point in the second.
    """
    max_tokens: int = Field(24, ge=1, le=512)
    repetition_penalty: float = Field(1.1, ge=1, le=2)


class HibariSettings(Settings):
    """hibari-tts in ONNX Runtime."""

    engine: Literal["hibari"]
    threads: int = Field(1, ge=1)
    speed: float = Field(1.0, gt=0.2, lt=5)


class VoicePrompt(Settings):
    """Ten seconds or so of the voice to speak with, and what it says."""

    audio: str
    """An audio file, mono or to be mixed down."""
    text: str


class CsmSettings(Settings):
    """CSM-1B; one thread, frame by frame."""

    engine: Literal["csm"]
    weights: str = "real"
    """`real` (pinned, gated), `random` (the exact architecture, for its speed), or the folder of a checkpoint."""
    device: str = "cuda"
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


class ScriptedSttSettings(Settings):
    """Says the same words after a set time. For tests and fault injection."""

    engine: Literal["scripted"]
    text: str = "scripted words"
    delay_ms: float = Field(40, ge=0)


class ScriptedLlmSettings(Settings):
    """Gives the same reply, token by token, after set times."""

    engine: Literal["scripted"]
    reply: str = "Certainly, I can help you with that."
    first_token_ms: float = Field(40, ge=0)
    token_ms: float = Field(5, ge=0)
    system_prompt: str = ""
    max_tokens: int = Field(24, ge=1)


class ScriptedTtsSettings(Settings):
    """Speaks a tone of a length set by the text after a set time."""

    engine: Literal["scripted"]
    first_audio_ms: float = Field(30, ge=0)
    ms_per_character: float = Field(50, gt=0)
    head_silence_ms: float = Field(0, ge=0)


class NetworkModel(Settings):
    """What the telephone network adds at the caller's ear; Twilio's own guidance (November 2025) by default."""

    in_ms: float = Field(40, ge=0)
    buffering_ms: float = Field(30, ge=0)
    decode_ms: float = Field(25, ge=0)

    @property
    def total_ms(self) -> float:
        """All legs."""
        return self.in_ms + self.buffering_ms + self.decode_ms


class Limits(Settings):
    """What the agent takes on."""

    simultaneous_calls: int = Field(2, ge=1)
    """More are refused."""
    gated_calls: int = Field(1, ge=1)
    """A budget is judged with this many calls going on at once."""


Vad = Annotated[SileroSettings | EnergySettings, Field(discriminator="engine")]
Stt = Annotated[FasterWhisperSettings | ScriptedSttSettings, Field(discriminator="engine")]
Llm = Annotated[CTranslate2Settings | ScriptedLlmSettings, Field(discriminator="engine")]
Tts = Annotated[HibariSettings | CsmSettings | ScriptedTtsSettings, Field(discriminator="engine")]


class Profile(Settings):
    """One complete agent."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str
    vad: Vad
    endpointing: EndpointingSettings = EndpointingSettings()
    stt: Stt
    llm: Llm
    tts: Tts
    network: NetworkModel = NetworkModel()
    limits: Limits = Limits()


def names() -> list[str]:
    """The profiles that ship."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load(name_or_path: str, overrides: tuple[str, ...] = ()) -> Profile:
    """The profile of that name, or in that file, with `section.key=value` overrides applied.

    Raises:
        ProfileError: it is unknown or malformed, or an override does not fit.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = PROFILES / f"{name_or_path}.yaml"
        if not path.is_file() or name_or_path not in names():
            raise ProfileError(f"no profile {name_or_path!r}; there are: {', '.join(names())} (or give a .yaml file)")
    profile = documents.load(path, Profile, ProfileError)
    if not overrides:
        return profile
    data = profile.model_dump()
    for override in overrides:
        _apply(data, override)
    return documents.parse(yaml.safe_dump(data, sort_keys=False), f"{profile.name} with --set", Profile, ProfileError)


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *sections, last = key.strip().split(".")
    target: Any = data
    for section in sections:
        target = target.get(section) if isinstance(target, dict) else None
    if not equals or not isinstance(target, dict) or not last:
        raise ProfileError(
            f"--set {override!r}: expected section.key=value, for example endpointing.min_silence_ms=200"
        )
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ProfileError(f"--set {override!r}: {value!r} is no YAML value") from None
