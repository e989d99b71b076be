"""Speech to text that returns the same words after a set time. For tests and fault injection; no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from turngap_agent import meter
from turngap_agent.clock import now_ns, sleep_until_ns
from turngap_agent.engines import LoadedEngine, SttSettings
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.tracing import Stage


class ScriptedSttSettings(SttSettings):
    """Returns the same words after a set time. For tests and fault injection."""

    governing: ClassVar[Mapping[Stage, str]] = {Stage.TRANSCRIPTION: "delay_ms"}

    engine: Literal["scripted"]
    text: str = "scripted words"
    delay_ms: float = Field(40, ge=0)

    def build(self) -> LoadedEngine:
        """The engine; nothing is loaded."""
        return ScriptedSpeechToText(self)


class ScriptedSpeechToText:
    """Returns its script whatever the audio is."""

    def __init__(self, settings: ScriptedSttSettings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"scripted, {self._settings.delay_ms:g} ms"

    async def warm_up(self) -> None:
        """Do nothing."""

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Return the script's words `delay_ms` after the call."""
        with meter.current().busy():
            await sleep_until_ns(now_ns() + round(self._settings.delay_ms * 1e6))
        return Transcript(self._settings.text)

    async def close(self) -> None:
        """Do nothing."""
