"""Whisper behind the agent's seam. With random weights the work is fixed: as many tokens as the script, and two."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from turngap_agent import worker
from turngap_agent.device import place
from turngap_agent.device.graphs import Execution, Mode
from turngap_agent.device.tokens import StandInTokenizer
from turngap_agent.errors import EngineError
from turngap_agent.resample import to_16k
from turngap_agent.stt import AudioF32, Transcript
from turngap_agent.stt.repeats import repeats_itself
from turngap_agent.stt.whisper import model
from turngap_agent.telephony import SAMPLE_RATE

if TYPE_CHECKING:
    from turngap_agent.stt.whisper import WhisperSettings

ENDS = 2
"""Decoded beside the words: the last token of a sentence, and the end."""
_MOST_TOKENS = 224
_WIDE = 16_000
_STAND_IN = StandInTokenizer(50_000)


class Whisper:
    """The network, loaded once; transcriptions of several calls wait for each other."""

    def __init__(self, settings: WhisperSettings) -> None:
        """Loads the weights.

        Raises:
            EngineError: no such device, too little memory, or no Whisper in the folder.
        """
        self._settings = settings
        self._device = place.device(settings.device, "whisper", "stt")
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        self._checkpoint = model.load(settings.weights, self._device, dtype, settings.window_s)
        self._cache_name = cache_name(self._checkpoint.network)
        self._dtype = dtype
        self._execution = Execution(self._device, Mode.EAGER, priority=settings.stream_priority)
        self._executor = worker.make_thread("stt", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        c, s = self._checkpoint, self._settings
        number = str(self._dtype).removeprefix("torch.")
        script = "" if c.tokenizer is not None else ", scripted words"
        return f"whisper {c.origin}, {number} on {self._device}, window {s.window_s} s{script}"

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
        """The same, and random weights "recognise" `words`: as many tokens are decoded as those have, and two.

        Raises:
            EngineError: the device failed; the turn is lost, the call is not.
        """
        try:
            return await worker.run(self._executor, self._transcribe, audio, words)
        except RuntimeError as fault:
            raise EngineError(f"whisper: {' '.join(str(fault).split())}; this turn is lost") from fault

    async def close(self) -> None:
        """Free thread and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        del self._checkpoint

    def _transcribe(self, audio: AudioF32, words: str) -> Transcript:
        if not len(audio):
            return Transcript("", 0.0)
        wide, step = to_16k(audio), self._settings.window_s * _WIDE
        with self._execution.active():
            said = [self._recognise(wide[start : start + step], words) for start in range(0, len(wide), step)]
        if self._checkpoint.tokenizer is None:
            return Transcript(words, self._settings.window_s, scripted=True)
        text = " ".join(self._checkpoint.tokenizer.decode(ids).strip() for ids in said)
        return Transcript(text, self._settings.window_s, rerun=repeats_itself(text))

    def _tokens(self, words: str) -> int:
        """How many tokens are decoded: random weights say nothing, so as many as `words` take, if they fit."""
        if self._checkpoint.tokenizer is not None:
            return _MOST_TOKENS
        room = self._checkpoint.network.config.max_target_positions - len(self._checkpoint.prompt)
        return int(min(len(_STAND_IN.encode(words)) + ENDS, room))

    def _recognise(self, audio: AudioF32, words: str) -> list[int]:
        """The ids of what is said in 16 kHz `audio` that is no longer than the window; one greedy pass."""
        c = self._checkpoint
        features = c.extractor(audio, sampling_rate=_WIDE, return_tensors="pt").input_features
        encoded = c.network.model.encoder(features.to(self._device, self._dtype))
        ids = torch.tensor([c.prompt], device=self._device)
        config = c.network.config
        cache: Any = None
        said: list[int] = []
        for _ in range(self._tokens(words)):
            out = c.network(
                decoder_input_ids=ids,
                encoder_outputs=encoded,
                use_cache=True,
                return_dict=True,
                **{self._cache_name: cache},
            )
            cache, ids = getattr(out, self._cache_name), out.logits[:, -1:].argmax(-1)
            if c.tokenizer is None:
                continue  # nothing is read back until all is done
            if int(ids) == config.eos_token_id:
                break
            said.append(int(ids))
        if c.tokenizer is None:
            said.append(int(ids))
        return said


def cache_name(network: Any) -> str:
    """What `network.forward` calls the keys and values of earlier steps, as an argument and in what it returns.

    `cache` in transformers releases that deprecate `past_key_values`, else `past_key_values`.
    """
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
