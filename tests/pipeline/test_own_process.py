"""Engines in processes of their own: the same answers, faults that stay there, and service after a kill."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from turngap_agent import loading, meter, profile
from turngap_agent.errors import EngineError
from turngap_agent.llm import GeneratesOnDemand, JudgesSentences, Request
from turngap_agent.llm.scripted import ScriptedLlmSettings
from turngap_agent.meter import Meter
from turngap_agent.own_process import engine as own_engine

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
START_S = 60
"""A process takes seconds to start on a busy machine."""
REQUEST = Request("A B C", (), "hello", 24)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module: the engine belongs to it."""
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(anyio_backend: str) -> AsyncIterator[Any]:
    """A language model, warm, in a process of its own; closing it ends that."""
    settings = ScriptedLlmSettings(engine="scripted", reply="Yes, of course.", first_token_ms=0, token_ms=0)
    engine = await loading.load_one(settings.model_copy(update={"own_process": True}))
    await loading.warm_up_one(settings, engine)
    yield engine
    (pid,) = engine.process_ids()
    await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineError, match="llm: its process"):
        await anext(engine.reply(REQUEST))


async def say(engine: Any) -> list[str]:
    """What it replies."""
    return [piece async for piece in engine.reply(REQUEST)]


async def test_an_engine_answers_as_in_the_agents_process(engine) -> None:
    """Streams, what it states of itself, and what it can and cannot."""
    assert await say(engine) == ["Yes,", " of", " course."]
    assert isinstance(engine, GeneratesOnDemand)
    assert not isinstance(engine, JudgesSentences)
    assert engine.describe().endswith("0 ms each, in a process of its own")


async def test_work_that_is_cancelled_ends_there(engine) -> None:
    """Then the attempt's meter is idle."""
    attempt = Meter()
    meter.CURRENT.set(attempt)
    reply = engine.reply(REQUEST)
    assert await anext(reply) == "Yes,"
    assert attempt.is_busy
    await reply.aclose()
    assert await attempt.wait_idle(START_S)


async def test_a_killed_process_costs_its_calls_the_time_of_a_start(engine) -> None:
    """A stream that it had not begun is answered by the next process."""
    engine._load_s = 0.0  # a busy machine may have taken longer
    os.kill(engine.process_ids()[0], signal.SIGKILL)
    assert await say(engine) == ["Yes,", " of", " course."]


async def test_a_killed_process_fails_its_calls_and_serves_again(serve, engine, monkeypatch) -> None:
    """In one call: an answer, `kill -9`, an apology as loading takes long, and an answer of the same agent."""
    monkeypatch.setattr(own_engine, "HELD_S", 0.0)
    async with serve(llm=engine) as served, served.phone() as phone:
        await phone.ask()
        names = [(await phone.reply())[0]]
        os.kill(engine.process_ids()[0], signal.SIGKILL)
        await phone.ask()
        name, audio = await phone.reply()
        names.append(name)
        await wait_until(lambda: engine._writer is None)
        async with asyncio.timeout(START_S):
            while engine._writer is None:  # noqa: ASYNC110  # what is waited for knows nothing of the test
                await asyncio.sleep(0.02)
        await phone.ask()
        names.append((await phone.reply())[0])
        await phone.hang_up()
    assert names == ["turn-0-1", "turn-1-1", "turn-2-1"]
    assert audio == b"".join(served.agent.announcements["apology"])


async def test_a_restart_kills_what_is_stuck(engine) -> None:
    """Here a process that is stopped. Its calls fail, and a fresh process works."""
    first = engine.process_ids()
    os.kill(*first, signal.SIGSTOP)
    stuck = asyncio.create_task(say(engine))
    await wait_until(lambda: engine._asked)
    await engine.restart()
    with pytest.raises(EngineError, match="llm: it was stuck"):
        await stuck
    assert engine.process_ids() != first
    assert await say(engine) == ["Yes,", " of", " course."]


async def test_what_cannot_be_moved_is_refused() -> None:
    """A detector hears every frame."""
    with pytest.raises(EngineError, match="vad: own_process: energy hears every frame"):
        await loading.load(profile.load("scripted", ("vad.own_process=true",)))
