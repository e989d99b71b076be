"""The cost of a void attempt to the next one is separate from its stages; one that failed unheard is repeated."""

from __future__ import annotations

import asyncio

import pytest
from turngap_agent import tracing
from turngap_agent.call import background
from turngap_agent.errors import EngineError
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.tracing import Stage

from tests.pipeline.call.speculative import LONG_MS, SHORT_MS, SPECULATIVE, Blocking, soon
from tests.pipeline.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio

NO_MODEL = (*SPECULATIVE, "endpointing.model=null")


class Slow(Blocking):
    """Its first work can't be interrupted, and ends when it is let; later words come at once."""

    async def transcribe(self, audio):
        return Transcript("words") if self.begun.is_set() else await super().transcribe(audio)


class FailingOnce(ScriptedSpeechToText):
    """Fails at its first work, then says words."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.requested = asyncio.Event()

    async def transcribe(self, audio):
        if not self.requested.is_set():
            self.requested.set()
            raise EngineError("out of memory")
        return Transcript("words")


async def test_waiting_for_a_void_attempts_engine_is_not_transcription(serve, monkeypatch):
    """The second attempt's first stage begins when the engine is free, and its span says that it waited."""
    monkeypatch.setattr(background, "ABANDONED_S", PATIENCE_S)
    stt = Slow()
    async with serve(*NO_MODEL, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(stt.begun)
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await asyncio.sleep(0.2)
        stt.release.set()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-2"
    heard = served.traces.turns[-1]
    work = served.traces.stages(attempt=1)[Stage.TRANSCRIPTION]
    waited_ns = work.start_ns - heard.attributes[tracing.PROVISIONAL_NS]
    assert heard.attributes[tracing.WAITED_MS] > 0
    assert waited_ns / 1e6 == pytest.approx(heard.attributes[tracing.WAITED_MS], abs=1)
    assert tracing.BESIDE_VOID not in heard.attributes


async def test_an_engine_that_is_given_up_is_reported(serve, monkeypatch):
    """The attempt that began beside it says so: its times may be longer for it."""
    monkeypatch.setattr(background, "ABANDONED_S", 0.001)
    stt = Slow()
    async with serve(*NO_MODEL, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(stt.begun)
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await phone.reply()
        stt.release.set()
        await phone.hang_up()
        await served.idle()
    assert served.traces.turns[-1].attributes[tracing.BESIDE_VOID] is True


async def test_an_attempt_that_failed_before_the_confirmed_end_is_repeated(serve):
    """The caller who has just stopped speaking gets an answer, not silence."""
    stt = FailingOnce()
    async with serve(*NO_MODEL, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(stt.requested)
        await phone.hush(LONG_MS)
        name, audio = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-2"
    assert audio
