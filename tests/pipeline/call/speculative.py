"""A profile that speculates, engines that record their requests, and a listener."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from turngap_agent import worker
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.tts.scripted import ScriptedSynthesizer, ScriptedTtsSettings

from tests.pipeline.conftest import PATIENCE_S

SPECULATIVE = (
    "endpointing.policy=speculative",
    "endpointing.provisional_ms=96",
    "endpointing.min_silence_ms=320",
    "endpointing.max_silence_ms=640",
    "endpointing.threshold=0.9",
)
SHORT_MS, MIDDLE_MS, LONG_MS = 200, 480, 800
"""Silences: longer than the provisional end, than the shortest that confirms, than the longest. Frames are sent without
waiting, so the turn model's answer arrives after all of them have been heard."""


class Counted(ScriptedSpeechToText):
    """Transcribes at once; records how often, and when first."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.heard: list[int] = []
        self.requested = asyncio.Event()

    async def transcribe(self, audio):
        self.heard.append(len(audio))
        self.requested.set()
        return Transcript(f"words {len(self.heard)}")

    async def wait_for_requests(self, count: int) -> None:
        """Return after so many requests."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < count:
                self.requested.clear()
                await self.requested.wait()


class Blocking(ScriptedSpeechToText):
    """Works on a thread that cannot be interrupted, until `release` is set; notes how many do at once."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.pool = ThreadPoolExecutor(4)
        self.release = threading.Event()
        self.requests, self.begun = 0, asyncio.Event()
        self.at_work = self.most_at_work = 0

    async def transcribe(self, audio):
        self.requests += 1
        self.begun.set()
        return await worker.run(self.pool, self._work)

    def _work(self) -> Transcript:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.release.wait(PATIENCE_S)
        self.at_work -= 1
        return Transcript("words")

    async def close(self) -> None:
        self.release.set()
        self.pool.shutdown()


class Recording(ScriptedLanguageModel):
    """Keeps its requests, and counts the tokens that are taken."""

    def __init__(self, **settings: str) -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", first_token_ms=0, token_ms=0, **settings))
        self.requests = []
        self.taken = 0

    async def reply(self, request):
        self.requests.append(request)
        async for token in super().reply(request):
            self.taken += 1
            yield token


class Ready(ScriptedSynthesizer):
    """Speaks at once; `done` is set when a clause's audio has been taken whole."""

    def __init__(self) -> None:
        super().__init__(ScriptedTtsSettings(engine="scripted", first_audio_ms=0))
        self.done = asyncio.Event()

    async def speak(self, text, context=()):
        async for piece in super().speak(text, context):
            yield piece
        self.done.set()


class Held(ScriptedSynthesizer):
    """Speaks `pieces` only when they are let out, one by one."""

    def __init__(self) -> None:
        super().__init__(ScriptedTtsSettings(engine="scripted", first_audio_ms=0))
        self.out = asyncio.Semaphore(1)
        self.calls = 0

    async def speak(self, text, context=()):
        self.calls += 1
        held = self.calls == 1
        async for piece in super().speak(text, context):
            if held:
                await self.out.acquire()
            yield piece


async def soon(event: asyncio.Event) -> None:
    """Return when it is set."""
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()


@contextlib.asynccontextmanager
async def expect_silence(phone) -> AsyncIterator[None]:
    """Fail if the agent sends anything by the end of the block, or within 50 ms after it.

    The block must wait for a sign that the agent could have spoken by now: a delayed agent is silent anyway.
    """
    yield
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await phone.socket.recv()
