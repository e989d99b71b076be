"""Whisper behind the agent's interface. With random weights it decodes as many tokens as the script has, plus two."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from turngap_agent import parts, worker
from turngap_agent.device.execution import Execution, Mode, select_device
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.errors import EngineError, one_line
from turngap_agent.resample import to_16k
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.stt.short_window import repeats_itself
from turngap_agent.stt.whisper import model
from turngap_agent.stt.whisper.decoder import StaticDecoder
from turngap_agent.stt.whisper.mel import LogMel
from turngap_agent.telephony import SAMPLE_RATE

if TYPE_CHECKING:
    from turngap_agent.stt.whisper.settings import WhisperSettings

END_TOKENS = 2
"""Decoded in addition to the words: the last token of a sentence, and the end."""
_MAX_TOKENS = 224
_WHISPER_RATE = 16_000
_STAND_IN = StandInTokenizer(50_000)


class Whisper:
    """The network, loaded once; transcriptions of several calls run one after the other."""

    parts = ("resample", "mel", "encoder", "decoder")

    def __init__(self, settings: WhisperSettings) -> None:
        """Load the weights.

        Raises:
            EngineError: no such device, too little memory, or no Whisper in the folder.
        """
        self._settings = settings
        self._device = select_device(settings.device, "whisper", "stt")
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        self._checkpoint = model.load(settings.weights, self._device, dtype, settings.window_s)
        self._cache_name = cache_argument(self._checkpoint.network)
        self._dtype = dtype
        static = settings.decoder == "static"
        mode = Mode.GRAPHS if static and self._device.type == "cuda" else Mode.EAGER
        self._execution = Execution(self._device, mode, priority=settings.stream_priority)
        with self._execution.activate():
            self._log_mel = LogMel(self._checkpoint.extractor, self._device)
            self._decoder = self._make_decoder() if static else None
        self._executor = worker.make_thread("stt", settings.cores)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        c, s = self._checkpoint, self._settings
        dtype = str(self._dtype).removeprefix("torch.")
        script = "" if c.tokenizer is not None else ", scripted words"
        fixed = ", static decoder" if self._decoder is not None else ""
        return f"whisper {c.origin}, {dtype} on {self._device}, window {s.window_s} s{fixed}{script}"

    async def warm_up(self) -> None:
        """Transcribe a second of faint noise."""
        await self.transcribe(np.asarray(np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE), np.float32))

    async def transcribe(self, audio: AudioF32) -> Transcript:
        """Recognise 8 kHz mono `audio`, shape (n,); with random weights the script is "recognised".

        Raises:
            EngineError: the device failed; the turn is lost, the call is not.
        """
        return await self.transcribe_as(audio, self._settings.script)

    async def transcribe_as(self, audio: AudioF32, words: str) -> Transcript:
        """Recognise `audio`; random weights "recognise" `words`, and decode as many tokens as those have, plus two.

        Raises:
            EngineError: the device failed; the turn is lost, the call is not.
        """
        try:
            return await worker.run(self._executor, self._transcribe, audio, words)
        except RuntimeError as error:
            raise EngineError(f"whisper: {one_line(error)}; this turn is lost") from error

    async def close(self) -> None:
        """Free thread and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        del self._checkpoint, self._decoder

    def _transcribe(self, audio: AudioF32, words: str) -> Transcript:
        if not len(audio):
            return Transcript("", 0.0)
        with parts.part("resample"):
            wide, step = to_16k(audio), self._settings.window_s * _WHISPER_RATE
        with self._execution.activate():
            found = [self._recognise(wide[start : start + step], words) for start in range(0, len(wide), step)]
        if self._checkpoint.tokenizer is None:
            return Transcript(words, self._settings.window_s, scripted=True)
        text = " ".join(self._checkpoint.tokenizer.decode(ids).strip() for ids in found)
        return Transcript(text, self._settings.window_s, rerun=repeats_itself(text))

    def _token_count(self, words: str) -> int:
        """Return how many tokens to decode at most; random weights decode exactly those of `words`, if they fit."""
        if self._checkpoint.tokenizer is not None:
            return _MAX_TOKENS
        room = self._checkpoint.network.config.max_target_positions - len(self._checkpoint.prompt)
        return int(min(len(_STAND_IN.encode(words)) + END_TOKENS, room))

    def _recognise(self, audio: AudioF32, words: str) -> list[int]:
        """Return the ids of the words in 16 kHz `audio` that is no longer than the window; one greedy pass."""
        c = self._checkpoint
        with parts.part("mel"):
            features = self._log_mel.compute(audio)
        with parts.part("encoder"):
            encoded = c.network.model.encoder(features.to(self._dtype))
        with parts.part("decoder"):
            count, reads_end = self._token_count(words), c.tokenizer is not None
            if self._decoder is not None:
                return self._decoder.decode(encoded.last_hidden_state, count, reads_end=reads_end)
            return self._decode_in_transformers(encoded, count, reads_end=reads_end)

    def _decode_in_transformers(self, encoded: Any, count: int, *, reads_end: bool) -> list[int]:
        """Return at most `count` ids, as transformers computes them: the reference for `StaticDecoder`."""
        network = self._checkpoint.network
        ids = torch.tensor([self._checkpoint.prompt], device=self._device)
        cache: Any = None
        recognised: list[Any] = []
        for _ in range(count):
            out = network(
                decoder_input_ids=ids,
                encoder_outputs=encoded,
                use_cache=True,
                return_dict=True,
                **{self._cache_name: cache},
            )
            cache, ids = getattr(out, self._cache_name), out.logits[:, -1:].argmax(-1)
            # Of random weights nothing is read back until all tokens are decoded.
            if reads_end and int(ids) == network.config.eos_token_id:
                break
            recognised.append(ids.view(1))
        tokens: list[int] = torch.cat(recognised).tolist() if recognised else []
        return tokens

    def _make_decoder(self) -> StaticDecoder:
        try:
            return StaticDecoder(self._checkpoint.network, self._checkpoint.prompt, self._execution)
        except (ValueError, RuntimeError) as error:
            raise EngineError(
                f"whisper: {self._checkpoint.origin} cannot be decoded with fixed shapes ({one_line(error, 200)}); set "
                "stt.decoder: transformers"
            ) from error


def cache_argument(network: Any) -> str:
    """Return the name that `network.forward` has for the keys and values of earlier steps, in and out.

    `cache` in the releases of transformers that deprecate `past_key_values` (5.24 does), else `past_key_values`.
    """
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
