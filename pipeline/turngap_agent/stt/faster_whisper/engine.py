"""Whisper on faster-whisper (CTranslate2), with an encoder window as short as the utterance.

Whisper encodes 30 s at a time, which is four fifths of its work. With `window: short` only the speech and `MARGIN_S`
after it are encoded. The decoder needs silence after the speech, or it repeats itself: the encoder's states of 8 s of
silence, computed once (`short_window`), are appended. A transcript that repeats itself nevertheless is computed again
with all the silence that fits into a window, and if that does not help, from 30 s of audio.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from turngap_agent import parts, weights, worker
from turngap_agent.device.ctranslate2 import explain_errors, prepare_gpu
from turngap_agent.device.ctranslate2_work import count_whisper, read_variables
from turngap_agent.device.work import PartWork
from turngap_agent.errors import EngineError, one_line
from turngap_agent.parts import Shape
from turngap_agent.resample import to_16k
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.stt.faster_whisper.settings import FasterWhisperSettings
from turngap_agent.stt.short_window import POSITIONS_PER_SECOND, SilentStates, States, append_quiet, repeats_itself
from turngap_agent.telephony import SAMPLE_RATE

WHISPER_RATE = 2 * SAMPLE_RATE
FULL_WINDOW_S = 30.0
MARGIN_S = 0.7
"""Encoded together with the speech and its quiet: the encoder attends in both directions."""
SILENCE_AFTER_S = 8.0
"""Silence after the speech with which its transcript is right, nearly always."""
_MAX_TOKENS = 224
_LEAST_TOKENS, _TOKENS_PER_SECOND = 12, 10
"""No one says more in a short window: a transcript of so many tokens repeats itself, and would for seconds."""


class FasterWhisper:
    """The model, loaded once; transcriptions of several calls run one after the other."""

    parts = ("resample", "mel", "encoder", "silence", "decoder", "words")

    def __init__(self, settings: FasterWhisperSettings) -> None:
        """Load the weights.

        Raises:
            EngineError: no such GPU, a library of CUDA is missing, or the device cannot compute in `compute_type`.
            WeightsError: the model is missing and cannot be fetched.
        """
        self._settings = settings
        prepare_gpu("stt", settings.device)
        self._folder = Path(weights.get(settings.model))
        with explain_errors("stt"):
            self._model = WhisperModel(
                str(self._folder),
                device=settings.device,
                compute_type=settings.compute_type,
                cpu_threads=settings.threads,
            )
        self._tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=settings.language
        )
        self._prompt = self._model.get_prompt(self._tokenizer, [], without_timestamps=True)
        self._executor = worker.make_thread("stt", settings.cores)
        self._silence = SilentStates(self._encode_silence()) if settings.window == "short" else None

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        s = self._settings
        place = "on cuda" if s.device == "cuda" else worker.threads_text(s.threads)
        return f"faster_whisper {s.model} {s.compute_type}, {s.window} window, {place}"

    async def warm_up(self) -> None:
        """Transcribe a second of faint noise in a short window and in a whole one; a GPU compiles its kernels now.

        Raises:
            EngineError: a library of CUDA is missing, which shows at the first work, or the memory is full.
        """
        noise = np.asarray(np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE), np.float32)
        with explain_errors("stt"):
            await worker.run(self._executor, self._transcribe, noise)
            await worker.run(self._executor, self._recognise, to_16k(noise))

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Recognise 8 kHz mono `audio`, shape (n,); empty audio has no words.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        try:
            return await worker.run(self._executor, self._transcribe, audio)
        except RuntimeError as error:  # CTranslate2's only class, out of memory included
            raise EngineError(
                f"stt: {self._settings.model} failed on {len(audio) / SAMPLE_RATE:.1f} s of audio: {one_line(error)}; "
                "this turn is lost"
            ) from error

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._model.model.unload_model()

    def count_work(self, shapes: Sequence[Shape]) -> Mapping[str, PartWork]:
        """Return what encoder and decoder must have done in a unit, in which they noted `shapes`."""
        variables = read_variables(self._folder / "model.bin")
        return count_whisper(variables, self._model.model.compute_type, shapes)

    def _transcribe(self, audio: AudioF32) -> Transcript:
        if not len(audio):
            return Transcript("", 0.0)
        with parts.part("resample"):
            wide = to_16k(append_quiet(audio))
        fits = self._silence is not None and len(wide) / WHISPER_RATE <= FULL_WINDOW_S - MARGIN_S - SILENCE_AFTER_S
        if fits and (transcript := self._transcribe_short(wide)) is not None:
            return transcript
        step = round(FULL_WINDOW_S * WHISPER_RATE)
        texts = [self._recognise(wide[start : start + step]) for start in range(0, len(wide), step)]
        return Transcript(" ".join(text for text in texts if text), FULL_WINDOW_S, rerun=fits)

    def _transcribe_short(self, audio: AudioF32) -> Transcript | None:
        """Return the words of 16 kHz `audio`; None if they repeat themselves however much silence follows."""
        assert self._silence is not None
        positions = math.ceil((len(audio) / WHISPER_RATE + MARGIN_S) * POSITIONS_PER_SECOND)
        encoded = self._encode(audio, positions)
        with parts.part("silence"):
            speech = np.array(encoded)
        max_tokens = _LEAST_TOKENS + round(_TOKENS_PER_SECOND * len(audio) / WHISPER_RATE)
        for seconds in (SILENCE_AFTER_S, FULL_WINDOW_S):
            with parts.part("silence"):
                states = ctranslate2.StorageView.from_array(self._silence.append_to(speech, seconds))
            text = self._decode(states, max_tokens)
            if text is not None and not repeats_itself(text):
                window_s = positions / POSITIONS_PER_SECOND
                return Transcript(text, window_s, rerun=seconds != SILENCE_AFTER_S)
        return None

    def _recognise(self, audio: AudioF32) -> str:
        """Return the words in 16 kHz `audio` of up to 30 s; one greedy pass over the whole window, no fallback."""
        return self._decode(self._encode(audio, round(FULL_WINDOW_S * POSITIONS_PER_SECOND))) or ""

    def _encode_silence(self) -> States:
        silence = np.zeros(round(FULL_WINDOW_S * WHISPER_RATE), np.float32)
        return np.array(self._encode(silence, round(FULL_WINDOW_S * POSITIONS_PER_SECOND)))

    def _encode(self, audio: AudioF32, positions: int) -> ctranslate2.StorageView:
        """Return the encoder's states of 16 kHz `audio`, padded with zeros to `positions` of 20 ms."""
        samples = positions * WHISPER_RATE // POSITIONS_PER_SECOND
        with parts.part("mel"):
            features = self._model.feature_extractor(audio, padding=max(0, samples - len(audio)))
        with parts.part("encoder"):
            parts.note_shape("positions", positions)
            return self._model.encode(features[:, : 2 * positions])

    def _decode(self, states: ctranslate2.StorageView, max_tokens: int | None = None) -> str | None:
        """Return the words of one greedy pass; "" where the model doubts that anybody speaks (`no_speech`).

        None where the transcript reached `max_tokens` and was stopped.
        """
        with parts.part("decoder"):
            (result,) = self._model.model.generate(
                states,
                [self._prompt],
                beam_size=1,
                sampling_temperature=0.0,
                # CTranslate2 lets the transcript use half of it.
                max_length=2 * (_MAX_TOKENS if max_tokens is None else max_tokens),
                return_no_speech_prob=True,
            )
            tokens = result.sequences_ids[0]
            parts.note_shape("positions", states.shape[1])
            parts.note_shape("prompt", len(self._prompt))
            parts.note_shape("tokens", len(tokens))
        if result.no_speech_prob > self._settings.no_speech:
            return ""
        if max_tokens is not None and len(tokens) >= max_tokens:
            return None
        with parts.part("words"):
            return str(self._tokenizer.decode(tokens)).strip()
