"""Whisper on faster-whisper (CTranslate2), with an encoder window as short as the utterance allows.

Whisper hears 30 s at a time, and encoding that is four fifths of its work. Here the audio is padded to the shortest of
`windows_s` that fits, and only so many frames are encoded. The decoder needs silence after the speech, or it repeats
itself: a window fits speech of up to its length less 8 s, and a transcript that still repeats itself is made again from
30 s.
"""

from __future__ import annotations

import asyncio

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from pipeline import weights, worker
from pipeline.device.ctranslate2 import explained, prepare
from pipeline.errors import EngineError
from pipeline.profile.stt import FasterWhisperSettings
from pipeline.resample import to_16k
from pipeline.stt import AudioF32, Transcript
from pipeline.stt.repeats import repeats_itself
from pipeline.telephony import SAMPLE_RATE

FULL_WINDOW_S = 30.0
SILENCE_AFTER_S = 8.0
"""How much of a window must lie behind the speech for its transcript to be sound."""
_MAX_TOKENS = 224


class FasterWhisper:
    """The model, loaded once; transcriptions of several calls wait for each other."""

    def __init__(self, settings: FasterWhisperSettings) -> None:
        """Loads the weights.

        Raises:
            EngineError: no such GPU, a library of CUDA is missing, or the device can't compute in `compute_type`.
            WeightsError: the model is not there and cannot be fetched.
        """
        self._settings = settings
        prepare("stt", settings.device)
        folder = str(weights.get(settings.model))
        with explained("stt"):
            self._model = WhisperModel(
                folder,
                device=settings.device,
                compute_type=settings.compute_type,
                cpu_threads=settings.threads,
            )
        self._tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=settings.language
        )
        self._prompt = self._model.get_prompt(self._tokenizer, [], without_timestamps=True)
        self._executor = worker.thread("stt", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        windows = "/".join(f"{window_s:g}" for window_s in (*s.windows_s, FULL_WINDOW_S))
        place = "on cuda" if s.device == "cuda" else worker.threads_text(s.threads)
        return f"faster_whisper {s.model} {s.compute_type}, windows {windows} s, {place}"

    async def warm_up(self) -> None:
        """Transcribe a second of faint noise in every window; on a GPU what is compiled for the card is compiled now.

        Raises:
            EngineError: a library of CUDA is missing, which is found out by the first work, or memory is used up.
        """
        noise = to_16k(np.asarray(np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE), np.float32))
        with explained("stt"):
            for window_s in (*self._settings.windows_s, FULL_WINDOW_S):
                await worker.run(self._executor, self._recognise, noise, window_s)

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Recognise 8 kHz mono `audio`, shape (n,); empty audio has no words.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        try:
            return await worker.run(self._executor, self._transcribe, audio)
        except RuntimeError as fault:  # what CTranslate2 raises, out of memory included
            raise EngineError(
                f"stt: {self._settings.model} failed on {len(audio) / SAMPLE_RATE:.1f} s: {fault}"
            ) from fault

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._model.model.unload_model()

    def _transcribe(self, audio: AudioF32) -> Transcript:
        if not len(audio):
            return Transcript("", 0.0)
        wide = to_16k(audio)
        least_s = len(audio) / SAMPLE_RATE + SILENCE_AFTER_S
        short = min((window_s for window_s in self._settings.windows_s if window_s >= least_s), default=FULL_WINDOW_S)
        if short < FULL_WINDOW_S:
            text = self._recognise(wide, short)
            if not repeats_itself(text):
                return Transcript(text, short)
            return Transcript(self._recognise(wide, FULL_WINDOW_S), FULL_WINDOW_S, rerun=True)
        step = round(FULL_WINDOW_S * 2 * SAMPLE_RATE)
        parts = [self._recognise(wide[start : start + step], FULL_WINDOW_S) for start in range(0, len(wide), step)]
        return Transcript(" ".join(part for part in parts if part), FULL_WINDOW_S)

    def _recognise(self, audio: AudioF32, window_s: float) -> str:
        """The words in 16 kHz `audio` that is no longer than the window; one greedy pass, no fallback."""
        extractor = self._model.feature_extractor
        padding = round(window_s * extractor.sampling_rate) - len(audio)
        features = extractor(audio, padding=max(0, padding))
        frames = round(window_s * self._model.frames_per_second)
        encoded = self._model.encode(features[:, :frames])
        (result,) = self._model.model.generate(
            encoded,
            [self._prompt],
            beam_size=1,
            sampling_temperature=0.0,
            max_length=len(self._prompt) + _MAX_TOKENS,
        )
        return str(self._tokenizer.decode(result.sequences_ids[0])).strip()
