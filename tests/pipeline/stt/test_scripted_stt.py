"""The scripted speech to text returns its words whatever the audio is."""

from __future__ import annotations

import asyncio

import numpy as np
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings


def test_it_returns_its_script() -> None:
    """The transcript is the profile's text."""
    engine = ScriptedSpeechToText(ScriptedSttSettings(engine="scripted", text="good morning", delay_ms=0))
    assert asyncio.run(engine.transcribe(np.zeros(8000, np.float32))).text == "good morning"
