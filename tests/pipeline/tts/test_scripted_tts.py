"""The scripted synthesiser: a tone of known level and length after known silence."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from turngap_agent.tts import AudioF32
from turngap_agent.tts.scripted import RATE, ScriptedSynthesizer, ScriptedTtsSettings


async def speak(text: str, head_silence_ms: float = 0) -> AudioF32:
    settings = ScriptedTtsSettings(
        engine="scripted", first_audio_ms=0, ms_per_character=50, head_silence_ms=head_silence_ms
    )
    return np.concatenate([piece async for piece in ScriptedSynthesizer(settings).speak(text)])


def test_its_length_follows_the_text() -> None:
    """50 ms a character, 24,000 samples a second."""
    assert len(asyncio.run(speak("seven c"))) == 7 * 50 * RATE // 1000


def test_its_tone_is_loud_within_a_millisecond() -> None:
    """440 Hz at -12 dBFS RMS from 1 ms on, without a jump at the start."""
    audio = asyncio.run(speak("ten letter"))
    steady = audio[RATE // 1000 : -RATE // 1000]
    assert 20 * np.log10(np.sqrt(np.mean(np.square(steady)))) == pytest.approx(-12, abs=0.1)
    assert np.argmax(np.abs(np.fft.rfft(audio))) * RATE / len(audio) == pytest.approx(440, abs=2)
    assert abs(audio[0]) < 0.01


def test_its_silence_is_digital() -> None:
    """`head_silence_ms` of exact zeros precede the tone."""
    audio = asyncio.run(speak("a", head_silence_ms=30))
    assert not audio[: 30 * RATE // 1000].any()
    assert audio[30 * RATE // 1000 :].any()
