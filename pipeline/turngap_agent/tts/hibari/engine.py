"""hibari-tts on ONNX Runtime: speech at 24 kHz, one sentence at a time, with trimmed silences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import hibari
import numpy as np

from turngap_agent import parts, worker
from turngap_agent.errors import EngineError, one_line
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.hibari.settings import HibariSettings
from turngap_agent.tts.trim import SilenceTrimmer

_PIECE_S = 0.2
"""A sentence is synthesised at once and yielded in pieces, so that the first is sent before the last is resampled."""
_SEED = 0
"""Of the voice's noise: the same text sounds the same every time."""


class Hibari:
    """The model, loaded once; clauses of several calls run one after the other."""

    parts = ("phonemes", "network", "waveform", "trim")

    def __init__(self, settings: HibariSettings) -> None:
        self._settings = settings
        self._model: Any = hibari.Hibari(threads=settings.threads)
        self._model.sess = _TimedSession(self._model.sess)
        self._executor = worker.make_thread("tts", settings.cores)
        self._kept: dict[str, tuple[AudioF32, ...]] = {}
        """The phrases of the settings, once they have been spoken, and their audio."""

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"hibari {hibari.__version__}, voice {self._model.voice}, {worker.threads_text(self._settings.threads)}"

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return int(self._model.sample_rate)

    async def warm_up(self) -> None:
        """Speak one clause that is discarded, which also loads the dictionaries; then the phrases that are kept.

        Raises:
            EngineError: a phrase cannot be spoken.
        """
        async for _ in self.speak("Hello, how may I help you?"):
            pass
        for phrase in self._settings.phrases:
            self._kept[phrase] = tuple([piece async for piece in self.speak(phrase)])

    def speak(self, text: str, context: tuple[ContextUtterance, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """Yield `text` as audio, sentence by sentence. Closing the generator stops the work after a sentence.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        return worker.iterate(self._executor, lambda: self._sentences(text))

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._model = None

    def _sentences(self, text: str) -> Iterator[AudioF32]:
        if (kept := self._kept.get(text)) is not None:
            yield from kept
            return
        trimmer = SilenceTrimmer(self.sample_rate)
        step = round(_PIECE_S * self.sample_rate)
        try:
            for audio in self._synthesise(text):
                with parts.part("trim"):
                    sound = np.concatenate([trimmer.push(audio), trimmer.flush()])
                for start in range(0, len(sound), step):
                    yield sound[start : start + step]
        except Exception as error:  # the errors of its phonemizer and its runtime have no common class
            raise EngineError(f"tts: hibari cannot speak {text!r}: {one_line(error)}; this reply is lost") from error

    def _synthesise(self, text: str) -> Iterator[AudioF32]:
        """Yield the sentences of `text`: what the package's own `stream` does, with its steps apart."""
        with parts.part("phonemes"):
            noise = np.random.default_rng(_SEED)
            sentences = [self._model.ids(phonemes) for phonemes in self._model.phonemize(text)]
        for ids in sentences:
            with parts.part("waveform"):  # but for the network, which interrupts it
                audio: AudioF32 = self._model.from_ids(ids, self._settings.speed, noise)
            yield audio


class _TimedSession:
    """The package's session, with its work as a part."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, *arguments: Any) -> Any:
        with parts.part("network"):
            return self._session.run(*arguments)
