"""Whisper on faster-whisper (CTranslate2), with an encoder window as short as the utterance.

Whisper hears 30 s at a time, and encoding that is four fifths of its work. With `window: short` only the speech and
`MARGIN_S` after it are encoded. The decoder needs silence behind the speech, or it repeats itself: it gets the
encoder's states of silence, made once (`quiet`), for 8 s. A transcript that repeats itself nevertheless is made again
with all the silence that a window holds, and if that does not help, from 30 s of audio.
"""

from __future__ import annotations

import asyncio
import math

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from turngap_agent import weights, worker
from turngap_agent.device.ctranslate2 import explained, prepare
from turngap_agent.errors import EngineError
from turngap_agent.resample import to_16k
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.stt.faster_whisper import FasterWhisperSettings
from turngap_agent.stt.quiet import POSITIONS_A_SECOND, SilentStates, States, with_quiet_after
from turngap_agent.stt.repeats import repeats_itself
from turngap_agent.telephony import SAMPLE_RATE

WHISPER_RATE = 2 * SAMPLE_RATE
FULL_WINDOW_S = 30.0
MARGIN_S = 0.7
"""Encoded together with the speech and its quiet: the encoder looks both ways."""
SILENCE_AFTER_S = 8.0
"""How much silence behind the speech makes its transcript sound, nearly always."""
_MAX_TOKENS = 224
_LEAST_TOKENS, _TOKENS_A_SECOND = 12, 10
"""Nobody says more in a short window: a transcript that comes to so many repeats itself, and would for seconds."""


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
        self._executor = worker.make_thread("stt", settings.cores)
        self._silence = SilentStates(self._silent_states()) if settings.window == "short" else None

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        place = "on cuda" if s.device == "cuda" else worker.threads_text(s.threads)
        return f"faster_whisper {s.model} {s.compute_type}, {s.window} window, {place}"

    async def warm_up(self) -> None:
        """Transcribe a second of faint noise, in a short window and in the whole one; a GPU compiles now.

        Raises:
            EngineError: a library of CUDA is missing, which is found out by the first work, or memory is used up.
        """
        noise = np.asarray(np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE), np.float32)
        with explained("stt"):
            await worker.run(self._executor, self._transcribe, noise)
            await worker.run(self._executor, self._recognise, to_16k(noise))

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
        wide = to_16k(with_quiet_after(audio))
        tried = self._silence is not None and len(wide) / WHISPER_RATE <= FULL_WINDOW_S - MARGIN_S - SILENCE_AFTER_S
        if tried and (short := self._in_short_window(wide)) is not None:
            return short
        step = round(FULL_WINDOW_S * WHISPER_RATE)
        parts = [self._recognise(wide[start : start + step]) for start in range(0, len(wide), step)]
        return Transcript(" ".join(part for part in parts if part), FULL_WINDOW_S, rerun=tried)

    def _in_short_window(self, audio: AudioF32) -> Transcript | None:
        """The words of 16 kHz `audio`, or None where they repeat themselves whatever the silence behind them."""
        assert self._silence is not None
        positions = math.ceil((len(audio) / WHISPER_RATE + MARGIN_S) * POSITIONS_A_SECOND)
        speech = np.array(self._encode(audio, positions))
        most = _LEAST_TOKENS + round(_TOKENS_A_SECOND * len(audio) / WHISPER_RATE)
        for seconds in (SILENCE_AFTER_S, FULL_WINDOW_S):
            text = self._decode(ctranslate2.StorageView.from_array(self._silence.behind(speech, seconds)), most)
            if text is not None and not repeats_itself(text):
                window_s = positions / POSITIONS_A_SECOND
                return Transcript(text, window_s, rerun=seconds != SILENCE_AFTER_S)
        return None

    def _recognise(self, audio: AudioF32) -> str:
        """The words in 16 kHz `audio` of up to 30 s; one greedy pass over the whole window, no fallback."""
        return self._decode(self._encode(audio, round(FULL_WINDOW_S * POSITIONS_A_SECOND))) or ""

    def _silent_states(self) -> States:
        silence = np.zeros(round(FULL_WINDOW_S * WHISPER_RATE), np.float32)
        return np.array(self._encode(silence, round(FULL_WINDOW_S * POSITIONS_A_SECOND)))

    def _encode(self, audio: AudioF32, positions: int) -> ctranslate2.StorageView:
        """The encoder's states of 16 kHz `audio`, padded with zeros to so many positions of 20 ms."""
        samples = positions * WHISPER_RATE // POSITIONS_A_SECOND
        features = self._model.feature_extractor(audio, padding=max(0, samples - len(audio)))
        return self._model.encode(features[:, : 2 * positions])

    def _decode(self, states: ctranslate2.StorageView, most: int | None = None) -> str | None:
        """The words, one greedy pass; "" where the model doubts that anybody speaks (`no_speech`).

        None where it came to `most` tokens, and was stopped there.
        """
        (result,) = self._model.model.generate(
            states,
            [self._prompt],
            beam_size=1,
            sampling_temperature=0.0,
            max_length=2 * (_MAX_TOKENS if most is None else most),  # CTranslate2 gives the transcript half of it
            return_no_speech_prob=True,
        )
        tokens = result.sequences_ids[0]
        if result.no_speech_prob > self._settings.no_speech:
            return ""
        return None if most is not None and len(tokens) >= most else str(self._tokenizer.decode(tokens)).strip()
