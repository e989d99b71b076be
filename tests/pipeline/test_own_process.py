"""Engines in processes of their own: the same answers, faults that stay there, and service after a kill."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from turngap_agent import loading, meter, profile
from turngap_agent.engines import LlmSettings, SttSettings
from turngap_agent.errors import EngineError
from turngap_agent.llm import GeneratesOnDemand, JudgesSentences, Request
from turngap_agent.llm.scripted import ScriptedLlmSettings
from turngap_agent.meter import Meter
from turngap_agent.stt.scripted import ScriptedSttSettings

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
START_S = 60
"""A process takes seconds to start on a busy machine."""
REQUEST = Request("A B C", (), "hello", 24)


async def load(settings: SttSettings | LlmSettings):
    """The engine, warm, in a process of its own."""
    engine = await loading.load_one(settings.model_copy(update={"own_process": True}))
    await loading.warm_up_one(settings, engine)
    return engine


async def test_an_engine_answers_as_in_the_agents_process() -> None:
    """Streams, what it states of itself, and what it can and cannot; closing it ends the process."""
    engine = await load(ScriptedLlmSettings(engine="scripted", reply="Yes, of course.", first_token_ms=0, token_ms=0))
    (pid,) = engine.process_ids()
    assert [piece async for piece in engine.reply(REQUEST)] == ["Yes,", " of", " course."]
    assert isinstance(engine, GeneratesOnDemand)
    assert not isinstance(engine, JudgesSentences)
    assert engine.describe().endswith("0 ms each, in a process of its own")
    await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineError, match="llm: its process"):
        await anext(engine.reply(REQUEST))


async def until_warm(engine) -> None:
    """Return when its process works."""
    async with asyncio.timeout(START_S):
        while engine._writer is None:  # noqa: ASYNC110  # what is waited for knows nothing of the test
            await asyncio.sleep(0.02)


async def test_a_killed_process_fails_its_calls_and_serves_again(serve) -> None:
    """In one call: an answer, `kill -9`, an apology, and an answer without a restart of the agent."""
    engine = await load(ScriptedSttSettings(engine="scripted", delay_ms=0))
    async with serve(stt=engine) as served, served.phone() as phone:
        await phone.ask()
        names = [(await phone.reply())[0]]
        os.kill(engine.process_ids()[0], signal.SIGKILL)
        await phone.ask()
        name, audio = await phone.reply()
        names.append(name)
        await wait_until(lambda: engine._writer is None)
        await until_warm(engine)
        await phone.ask()
        names.append((await phone.reply())[0])
        await phone.hang_up()
    assert names == ["turn-0-1", "turn-1-1", "turn-2-1"]
    assert audio == b"".join(served.agent.announcements["apology"])
    await engine.close()


async def test_a_restart_kills_what_is_stuck() -> None:
    """A cancelled call's work ends there, and its meter is idle; a stuck one's fails, and a fresh process works."""
    engine = await load(ScriptedLlmSettings(engine="scripted", first_token_ms=60_000))
    attempt = Meter()
    meter.CURRENT.set(attempt)
    working = asyncio.create_task(anext(engine.reply(REQUEST)))
    await asyncio.sleep(0)
    assert attempt.is_busy
    working.cancel()
    assert await attempt.wait_idle(START_S)
    first = engine.process_ids()
    stuck = asyncio.create_task(anext(engine.reply(REQUEST)))
    await wait_until(lambda: engine._asked)
    await engine.restart()
    with pytest.raises(EngineError, match="llm: it was stuck"):
        await stuck
    assert engine.process_ids() != first
    await engine.close()


async def test_what_cannot_be_moved_is_refused() -> None:
    """A detector hears every frame."""
    with pytest.raises(EngineError, match="vad: own_process: energy hears every frame"):
        await loading.load(profile.load("scripted", ("vad.own_process=true",)))
