"""hibari-tts in ONNX Runtime: 24 kHz speech, a sentence at a time, its silences trimmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import hibari
import numpy as np

from turngap_agent import worker
from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, Spoken
from turngap_agent.tts.hibari import HibariSettings
from turngap_agent.tts.trim import SilenceTrimmer

_PIECE_S = 0.2
"""A sentence is made at once and given in pieces, so that the first is on the line before the last is resampled."""
_SEED = 0
"""Fixes the voice's noise component: the same text sounds the same every time."""


class Hibari:
    """The model, loaded once; clauses of several calls wait for each other."""

    def __init__(self, settings: HibariSettings) -> None:
        self._settings = settings
        self._model: Any = hibari.Hibari(threads=settings.threads)
        self._executor = worker.make_thread("tts", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        return f"hibari {hibari.__version__}, voice {self._model.voice}, {worker.threads_text(self._settings.threads)}"

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return int(self._model.sample_rate)

    async def warm_up(self) -> None:
        """Speak one clause to nobody; it loads the dictionaries too."""
        async for _ in self.speak("Hello, how may I help you?"):
            pass

    def speak(self, text: str, context: tuple[Spoken, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """`text` as audio, sentence by sentence, its silences trimmed. Closing the generator stops after a sentence.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        return worker.iterate(self._executor, lambda: self._sentences(text))

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._model = None

    def _sentences(self, text: str) -> Iterator[AudioF32]:
        trimmer = SilenceTrimmer(self.sample_rate)
        step = round(_PIECE_S * self.sample_rate)
        try:
            for audio in self._model.stream(text, self._settings.speed, _SEED):
                sound = np.concatenate([trimmer.push(audio), trimmer.flush()])
                for start in range(0, len(sound), step):
                    yield sound[start : start + step]
        except Exception as fault:  # its phonemes and its runtime raise what they please
            raise EngineError(f"tts: hibari cannot speak {text!r}: {' '.join(str(fault).split())}") from fault
