"""Adapters: the engines of a turngap profile as pipecat services for speech-to-text, language model and synthesis.

They follow the local services that pipecat ships (Whisper, Kokoro): the same base classes, metrics and tracing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language
from pipecat.utils.text.base_text_aggregator import Aggregation, BaseTextAggregator
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.tracing.service_decorators import traced_llm, traced_stt, traced_tts
from turngap_agent.call.conversation import has_words, make_call_block
from turngap_agent.errors import EngineError
from turngap_agent.llm import LanguageModel, Message, ReadsAhead, Request
from turngap_agent.llm.clauses import ClauseSplitter
from turngap_agent.resample import Downsampler
from turngap_agent.stt import SpeechToText
from turngap_agent.tts import Synthesizer

TTFS_P99_S = 0.5
"""Speech end to final transcript: only a safety net, because a segment's transcript is final."""
_FULL_SCALE = 32_768.0


class EngineSTTService(SegmentedSTTService):
    """Recognises each segment that the voice detector ends, as pipecat's own Whisper service does."""

    def __init__(self, engine: SpeechToText, name: str) -> None:
        # The engine adds the silence that it needs; more would only make its window longer.
        super().__init__(
            trailing_silence_secs=0.0,
            ttfs_p99_latency=TTFS_P99_S,
            settings=STTSettings(model=name, language=Language.EN),
        )
        self._engine = engine

    def can_generate_metrics(self) -> bool:
        """Whether it measures its time to first byte."""
        return True

    @property
    def wants_wav_segments(self) -> bool:
        """Whether a segment comes with a WAV header: no, the engine takes samples."""
        return False

    @traced_stt
    async def _handle_transcription(self, transcript: str, is_final: bool, language: Language | None = None) -> None:
        """Mark where pipecat's tracing hooks in."""

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        """Yield the transcript of a segment: 16-bit mono PCM at 8 kHz."""
        pcm = np.frombuffer(audio, np.int16).astype(np.float32) / _FULL_SCALE
        await self.start_processing_metrics()
        try:
            transcript = await self._engine.transcribe(pcm)
        except EngineError as error:
            yield ErrorFrame(error=str(error))
            return
        finally:
            await self.stop_processing_metrics()
        if has_words(transcript.text):
            await self._handle_transcription(transcript.text, True, Language.EN)
            yield TranscriptionFrame(transcript.text, self._user_id, time_now_iso8601(), Language.EN)


class EngineLLMService(LLMService):
    """Generates from pipecat's context; reads the prompt ahead while the caller speaks, as the profile's agent does."""

    def __init__(self, engine: LanguageModel, name: str, max_tokens: int) -> None:
        super().__init__(
            settings=LLMSettings(
                model=name,
                system_instruction=None,
                temperature=None,
                max_tokens=max_tokens,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=False,
                user_turn_completion_config=None,
            )
        )
        self._engine, self._max_tokens = engine, max_tokens
        self._call_block = make_call_block()
        self._history: tuple[Message, ...] = ()
        self._reading: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Whether it measures its time to first byte."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; start to read ahead when the caller starts to speak."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            if isinstance(frame, VADUserStartedSpeakingFrame):
                self._read_ahead()
            await self.push_frame(frame, direction)
            return
        try:
            await self.push_frame(LLMFullResponseStartFrame())
            await self.start_processing_metrics()
            await self._process_context(frame.context)
        except EngineError as error:
            await self.push_error(error_msg=str(error), exception=error)
        finally:
            await self.stop_processing_metrics()
            await self.push_frame(LLMFullResponseEndFrame())

    async def cleanup(self) -> None:
        """Free what the engine keeps of the call."""
        await super().cleanup()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if isinstance(self._engine, ReadsAhead):
            self._engine.forget(self._call_block)

    @traced_llm
    async def _process_context(self, context: LLMContext) -> None:
        *history, last = _read_messages(context)
        request = Request(self._call_block, tuple(history), last.text, self._max_tokens)
        await self.start_ttfb_metrics()
        async with aclosing(self._engine.reply(request)) as pieces:
            async for piece in pieces:
                await self.stop_ttfb_metrics()
                await self._push_llm_text(piece)
        self._history = (*history, last)

    def _read_ahead(self) -> None:
        engine = self._engine
        if isinstance(engine, ReadsAhead) and (self._reading is None or self._reading.done()):
            request = Request(self._call_block, self._history, words="", max_tokens=0)
            self._reading = asyncio.create_task(engine.read_ahead(request))


class EngineTTSService(TTSService):
    """Speaks each aggregation; resampled by the profile's own filter, whose delay is 1.5 ms."""

    def __init__(self, engine: Synthesizer, name: str) -> None:
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            settings=TTSSettings(model=name, voice=name, language=Language.EN),
        )
        self._engine = engine

    def speak_clauses(self) -> None:
        """Speak clause by clause, cut as in the profile's agent, instead of sentence by sentence."""
        self._text_aggregator = ClauseAggregator()

    def can_generate_metrics(self) -> bool:
        """Whether it measures its time to first byte."""
        return True

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """Yield the audio of `text` at 8 kHz, as the engine makes it."""
        down = Downsampler(self._engine.sample_rate)
        try:
            await self.start_tts_usage_metrics(text)
            async with aclosing(self._engine.speak(text)) as pieces:
                async for piece in pieces:
                    pcm = down.push(piece)
                    await self.stop_ttfb_metrics()
                    if len(pcm):
                        yield self._frame(pcm, context_id)
            tail = down.flush()
            if len(tail):
                yield self._frame(tail, context_id)
        except EngineError as error:
            yield ErrorFrame(error=str(error))
        finally:
            await self.stop_ttfb_metrics()

    def _frame(self, pcm: Any, context_id: str) -> TTSAudioRawFrame:
        return TTSAudioRawFrame(
            audio=pcm.tobytes(), sample_rate=self.sample_rate, num_channels=1, context_id=context_id
        )


class ClauseAggregator(BaseTextAggregator):
    """Text aggregation with the clauses of the profile's agent: the smallest pieces that the synthesiser can take."""

    def __init__(self) -> None:
        super().__init__()
        self._splitter = ClauseSplitter()
        self._pending = ""

    @property
    def text(self) -> Aggregation:
        """The text that is no whole clause yet."""
        return self._clause(self._pending)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Yield the clauses that `text` completes."""
        self._pending += text
        for clause in self._splitter.push(text):
            self._pending = ""
            yield self._clause(clause)

    async def flush(self) -> Aggregation | None:
        """Return the rest of the reply, if it has anything to speak."""
        rest = self._splitter.flush()
        await self.reset()
        return self._clause(rest[0]) if rest else None

    async def handle_interruption(self) -> None:
        """Drop what was not spoken."""
        await self.reset()

    async def reset(self) -> None:
        """Begin a new reply."""
        self._splitter, self._pending = ClauseSplitter(), ""

    def _clause(self, text: str) -> Aggregation:
        return Aggregation(text=text, type="sentence")


def _read_messages(context: LLMContext) -> list[Message]:
    """Return the context's messages, those of one role in a row joined; the last is the caller's."""
    messages: list[Message] = []
    for entry in context.get_messages():
        role, content = entry.get("role"), entry.get("content")
        if role not in ("user", "assistant") or not isinstance(content, str):
            continue
        if messages and messages[-1].role == role:
            messages[-1] = Message(role, f"{messages[-1].text} {content}")
        else:
            messages.append(Message(role, content))
    return messages
