"""Work beside a call's turns: one reading ahead at a time, and cancelled work is waited for, but not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from turngap_agent import meter
from turngap_agent.call.background import ABANDONED_S, CancelledWork, ContextPreparation, ReadAhead
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.llm import Request
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.loading import Engines
from turngap_agent.meter import Meter
from turngap_agent.tts import ContextUtterance
from turngap_agent.tts.scripted import ScriptedSynthesizer, ScriptedTtsSettings

BLOCK = "a call's block"
REQUEST = Request(BLOCK, (), words="", max_tokens=0)


class Reader:
    """A language model that reads ahead when it is allowed to."""

    def __init__(self) -> None:
        self.read: list[Request] = []
        self.may = asyncio.Event()
        self.fault: EngineError | None = None
        self.forgotten: list[str] = []

    async def read_ahead(self, request: Request) -> None:
        self.read.append(request)
        await self.may.wait()
        if self.fault:
            raise self.fault

    def forget(self, call_block: str) -> None:
        self.forgotten.append(call_block)

    async def warm_up(self) -> None:
        """Nothing to do."""

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Says nothing."""
        return
        yield ""

    async def close(self) -> None:
        """Nothing to do."""


def make_engines(**replaced: Any) -> Engines:
    """Scripted engines, but for those."""
    llm, tts = ScriptedLlmSettings(engine="scripted"), ScriptedTtsSettings(engine="scripted")
    engines = {"vad": None, "stt": None, "llm": ScriptedLanguageModel(llm), "tts": ScriptedSynthesizer(tts)}
    return Engines(**engines | replaced, models={})


async def yield_to_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_reading_at_a_time() -> None:
    """A caller who starts again meanwhile causes no second one; the next turn does."""

    async def run() -> None:
        reader = Reader()
        ahead = ReadAhead(make_engines(llm=reader), BLOCK, "CA1")
        ahead.start(())
        await yield_to_loop()
        ahead.start(())
        await yield_to_loop()
        assert reader.read == [REQUEST]
        reader.may.set()
        await yield_to_loop()
        ahead.start(())
        await yield_to_loop()
        assert reader.read == [REQUEST, REQUEST]
        await ahead.close()

    asyncio.run(run())


def test_the_end_of_a_call_does_not_wait_for_it() -> None:
    """It is cancelled, and the model frees what it keeps for the call."""

    async def run() -> None:
        reader = Reader()
        ahead = ReadAhead(make_engines(llm=reader), BLOCK, "CA1")
        ahead.start(())
        await yield_to_loop()
        assert reader.forgotten == []
        await asyncio.wait_for(ahead.close(), 5)
        assert reader.forgotten == [BLOCK]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_failure_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    """The turn's own request will fail too, if the engine stays broken."""

    async def run() -> None:
        reader = Reader()
        reader.fault = EngineError("llm: smollm2 failed: out of memory")
        reader.may.set()
        ahead = ReadAhead(make_engines(llm=reader), BLOCK, "CA1")
        ahead.start(())
        await yield_to_loop()
        await ahead.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert [record.message for record in caplog.records] == ["CA1: reading ahead: llm: smollm2 failed: out of memory"]


def test_nothing_is_read_with_a_model_that_cannot_read_ahead() -> None:
    """No task is started."""

    async def run() -> None:
        ahead = ReadAhead(make_engines(), BLOCK, "CA1")
        ahead.start(())
        assert len(asyncio.all_tasks()) == 1
        await ahead.close()

    asyncio.run(run())


@pytest.mark.anyio
async def test_a_fresh_engine_is_used_by_running_calls() -> None:
    """What was replaced is asked nothing more."""
    readers, preparers = (Reader(), Reader()), (Preparer(), Preparer())
    engines = make_engines()
    ahead, preparation = ReadAhead(engines, BLOCK, "CA1"), ContextPreparation(engines, "CA1")
    for reader, preparer in zip(readers, preparers, strict=True):
        engines.llm, engines.tts = reader, preparer
        reader.may.set()
        ahead.start(())
        preparation.start(TURN)
        await yield_to_loop()
    await ahead.close()
    await preparation.close()
    assert [reader.read for reader in readers] == [[REQUEST], [REQUEST]]
    assert [preparer.contexts for preparer in preparers] == [[1], [1]]
    assert [reader.forgotten for reader in readers] == [[], [BLOCK]]


async def cancel_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(1000))
    task.cancel()
    return task


@pytest.mark.anyio
async def test_attempts_without_work_are_not_waited_for():
    """No attempt, or one without work: the wait ends at once."""
    work = CancelledWork()
    async with asyncio.timeout(ABANDONED_S / 2):
        assert await work.wait()
        work.add(await cancel_task(), Meter())
        assert work
        assert await work.wait()
    assert not work


@pytest.mark.anyio
async def test_work_is_waited_for():
    """Until the last engine has stopped."""
    work, meter = CancelledWork(), Meter()
    work.add(await cancel_task(), meter)
    with meter.busy():
        waiting = asyncio.create_task(work.wait(100))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


@pytest.mark.anyio
async def test_an_engine_that_never_stops_is_given_up(caplog):
    """With a line in the log; once given up it is not waited for again."""
    work, meter = CancelledWork(), Meter()
    work.add(await cancel_task(), meter)
    with meter.busy():
        await work.wait(0.001)
        await work.wait(1000)
    assert [record.getMessage() for record in caplog.records] == [
        "an engine is still at work 0.001 s after its attempt was cancelled"
    ]


class Preparer(ScriptedSynthesizer):
    """A synthesiser that prepares contexts when it is allowed to."""

    def __init__(self) -> None:
        self.contexts: list[int] = []
        self.done: list[int] = []
        self.may = asyncio.Event()
        self.meters: list[Meter] = []
        self.fault: EngineError | None = None

    async def prepare(self, context: tuple[ContextUtterance, ...]) -> None:
        self.contexts.append(len(context))
        self.meters.append(meter.current())
        await self.may.wait()
        if self.fault:
            raise self.fault
        self.done.append(len(context))


TURN = (ContextUtterance("caller", "hello", np.zeros(8, np.float32)),)


@pytest.mark.anyio
async def test_a_newer_context_replaces_one_that_is_being_prepared() -> None:
    """As when the reply is cut to what was heard; none of it counts as work for the attempt that started it."""
    tts = Preparer()
    preparation = ContextPreparation(make_engines(tts=tts), "CA1")
    attempt = Meter()
    meter.CURRENT.set(attempt)
    for count in (1, 2):
        preparation.start(TURN * count)
        await asyncio.sleep(0)
    tts.may.set()
    await asyncio.sleep(0.01)
    assert (tts.contexts, tts.done) == ([1, 2], [2])
    assert attempt not in tts.meters
    await preparation.close()


@pytest.mark.anyio
async def test_a_failure_of_preparation_costs_time_only(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the next context is prepared."""
    tts = Preparer()
    tts.fault = EngineError("csm: the device failed")
    tts.may.set()
    preparation = ContextPreparation(make_engines(tts=tts), "CA1")
    with caplog.at_level(logging.ERROR):
        preparation.start(TURN)
        await asyncio.sleep(0.01)
    assert "CA1: preparing the context of speech: csm: the device failed" in caplog.text
    tts.fault = None
    preparation.start(TURN)
    await asyncio.sleep(0.01)
    assert tts.done == [1]
    await preparation.close()


@pytest.mark.anyio
@pytest.mark.parametrize("stage", ["llm", "tts"])
async def test_a_gpu_that_is_lost_beside_the_turns_ends_the_agent(stage: str) -> None:
    """Under MPS; no caller has to wait first for a turn that cannot be answered."""
    fault = EngineError("csm: the device failed (CUDA error: an illegal memory access was encountered)")
    reader, tts = Reader(), Preparer()
    reader.fault = tts.fault = fault
    reader.may.set()
    tts.may.set()
    work = ReadAhead(make_engines(llm=reader), BLOCK, "CA1"), ContextPreparation(make_engines(tts=tts), "CA1")
    faults.WATCH.arm()
    try:
        if stage == "llm":
            work[0].start(())
        else:
            work[1].start(TURN)
        error = await asyncio.wait_for(faults.WATCH.wait(), 10)
    finally:
        faults.WATCH.disarm()
    assert "an engine of the agent: csm: the device failed (CUDA error: an illegal memory access" in str(error)
    for each in work:
        await each.close()


class NotingSynthesizer(ScriptedSynthesizer):
    """Speaks as the script says, and notes the contexts that it is to prepare."""

    def __init__(self) -> None:
        super().__init__(ScriptedTtsSettings(engine="scripted", first_audio_ms=0))
        self.contexts: list[list[str]] = []

    async def prepare(self, context: tuple[ContextUtterance, ...]) -> None:
        self.contexts.append([utterance.speaker for utterance in context])


@pytest.mark.anyio
async def test_each_turn_of_a_call_is_prepared_after_it(serve) -> None:
    """When its reply was sent: both utterances, with those before them."""
    tts = NotingSynthesizer()
    async with serve(tts=tts) as served, served.phone() as phone:
        for turns in (1, 2):
            await phone.ask()
            await phone.reply()
            async with asyncio.timeout(10):
                while len(tts.contexts) < turns:  # noqa: ASYNC110  # what is waited for knows nothing of the test
                    await asyncio.sleep(0.005)
            assert tts.contexts[-1] == ["caller", "agent"] * turns
        await phone.hang_up()
        await served.idle()
    assert len(tts.contexts) == 2
