"""`python -m turngap_agent say …`: write a text as a WAV file, in the caller's synthetic voice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import soundfile

from turngap_agent import files
from turngap_agent.errors import EngineError, UsageError
from turngap_agent.tts import AudioF32
from turngap_agent.tts.hibari.settings import HibariSettings

HEAD_S, TAIL_S = 0.3, 0.6
"""Silence before and after the speech, without which `turngap label` cannot tell that the speech is whole."""


def run(text: str, out: Path, *, speech_only: bool = False) -> int:
    """Speak `text` into the file `out`, with silence around it unless `speech_only`; return the exit code.

    Raises:
        EngineError: the synthesiser is not installed or failed.
        UsageError: the text has no words, or the file cannot be written.
    """
    if not any(character.isalnum() for character in text):
        raise UsageError(f"say: {text!r} has no words; give some")
    rate, audio = asyncio.run(_synthesise(text))
    if not speech_only:
        audio = np.pad(audio, (round(HEAD_S * rate), round(TAIL_S * rate)))
    _write(out, rate, audio)
    print(f"{out}: {len(audio) / rate:.2f} s")
    return 0


async def _synthesise(text: str) -> tuple[int, AudioF32]:
    try:
        from turngap_agent.tts.hibari.engine import Hibari
    except ImportError as error:
        raise EngineError(f"say: hibari is not installed ({error}); run: pip install 'turngap[cpu]'") from error
    engine = await asyncio.to_thread(Hibari, HibariSettings(engine="hibari"))
    try:
        pieces = [piece async for piece in engine.speak(text)]
        return engine.sample_rate, np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    finally:
        await engine.close()


def _write(path: Path, rate: int, audio: AudioF32) -> None:
    """Write a 16-bit WAV file, whole or not at all."""
    try:
        with files.replacing(path, sync=False) as file:
            soundfile.write(file, audio, rate, subtype="PCM_16", format="WAV")
    except OSError as error:
        raise UsageError(f"say: {path} cannot be written ({error.strerror or error}); give another --out") from error
