"""A tone instead of speech, as long as its text, after a set time. For tests and fault injection; no model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from turngap_agent import meter
from turngap_agent.clock import now_ns, sleep_until_ns
from turngap_agent.engines import LoadedEngine, TtsSettings
from turngap_agent.tracing import Stage
from turngap_agent.tts import AudioF32, ContextUtterance

RATE = 24_000
"""The rate of the real synthesisers, so that resampling is the same."""
TONE_HZ = 440.0
LEVEL_DBFS = -12.0
"""RMS, full scale ±1."""
_RAMP_S = 0.001
_PIECE_S = 0.1


class ScriptedTtsSettings(TtsSettings):
    """Speaks a tone, as long as its text, after a set time."""

    says_words = False
    governing: ClassVar[Mapping[Stage, str]] = {
        Stage.FIRST_AUDIO: "first_audio_ms",
        Stage.LEAD_IN: "head_silence_ms",
    }
    engine: Literal["scripted"]
    first_audio_ms: float = Field(30, ge=0)
    ms_per_character: float = Field(50, gt=0)
    head_silence_ms: float = Field(0, ge=0)

    def build(self) -> LoadedEngine:
        """Return the engine; nothing is loaded."""
        return ScriptedSynthesizer(self)


class ScriptedSynthesizer:
    """Yields a tone at the script's times; of the text only the length counts."""

    def __init__(self, settings: ScriptedTtsSettings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"scripted, first audio {self._settings.first_audio_ms:g} ms, {TONE_HZ:g} Hz tone"

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return RATE

    async def warm_up(self) -> None:
        """Do nothing."""

    async def speak(self, text: str, context: tuple[ContextUtterance, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """Yield digital silence, then the tone, in pieces of 100 ms, all `first_audio_ms` after the call."""
        due_ns = now_ns() + round(self._settings.first_audio_ms * 1e6)
        audio = np.concatenate(
            [
                np.zeros(round(self._settings.head_silence_ms / 1000 * RATE), np.float32),
                _make_tone(round(self._settings.ms_per_character * len(text) / 1000 * RATE)),
            ]
        )
        with meter.current().busy():
            await sleep_until_ns(due_ns)
        step = round(_PIECE_S * RATE)
        for start in range(0, len(audio), step):
            yield audio[start : start + step]

    async def close(self) -> None:
        """Do nothing."""


def _make_tone(length: int) -> AudioF32:
    seconds = np.arange(length) / RATE
    peak = np.sqrt(2) * 10 ** (LEVEL_DBFS / 20)
    ramp = np.clip(np.minimum(seconds, seconds[::-1]) / _RAMP_S, 0, 1)
    return np.asarray(peak * ramp * np.sin(2 * np.pi * TONE_HZ * seconds), np.float32)
