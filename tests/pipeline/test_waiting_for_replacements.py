"""Stuck engines are replaced while the agent serves, and calls that wait for one are answered by the fresh one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from turngap_agent import loading, meter, profile
from turngap_agent.deadlines import EngineFailure, StageError, late
from turngap_agent.loading import Engines
from turngap_agent.meter import Meter
from turngap_agent.replacements import Replacements
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.telemetry.metrics import LoopLag, Metrics

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
WITHIN_S = 60.0


class StuckSpeechToText(ScriptedSpeechToText):
    """Its thread never returns from the first utterance, and all others wait behind it."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.asked = 0
        self.thread = ExitStack()

    async def transcribe(self, audio: object) -> Transcript:
        self.asked += 1
        if self.asked == 1:
            self.thread.enter_context(meter.current().busy())
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
async def overseen() -> AsyncIterator[tuple[Replacements, Engines]]:
    """Scripted engines, and who replaces them."""
    chosen = profile.load("scripted")
    engines = await loading.load(chosen)
    overseer = Replacements(chosen, engines, Metrics(LoopLag(), lambda: 0, lambda: 0, lambda: None))
    yield overseer, engines
    await overseer.close()
    await engines.close()


async def test_a_neighbour_does_not_notice_a_stuck_engine(serve) -> None:
    """Its turn comes while the engine is past its deadline for another call: a fresh one answers it."""
    limits = ("deadlines.stt_ms=1500", "deadlines.stuck_ms=60000")
    async with serve(*limits, stt=StuckSpeechToText()) as served, served.phone("1") as one, served.phone("2") as other:
        await one.ask()
        _, sorry = await one.reply()
        await other.ask()
        _, answer = await other.reply()
        await one.ask()
        _, again = await one.reply()
        for phone in (one, other):
            await phone.hang_up()
        await served.idle()
        replaced = served.count("turngap_engine_replacements_total", stage="stt", result="replaced")
        failed = served.count("turngap_turns_total", result="failed")
    apology = b"".join(served.agent.announcements["apology"])
    assert [audio == apology for audio in (sorry, answer, again)] == [True, False, False]
    assert (replaced, failed) == (1, 1)


async def test_with_a_spare_a_neighbour_waits_and_hears_no_apology(serve, monkeypatch) -> None:
    """It asked soon after the stuck call, and a fresh engine would take for ever to load: its deadline counts anew."""
    stuck = StuckSpeechToText()
    limits = ("deadlines.stt_ms=1000", "deadlines.silence_ms=30000", "deadlines.spares=[stt]")

    async def load_one(settings: object) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    async with serve(*limits, stt=stuck) as served, served.phone("1") as one, served.phone("2") as other:
        await served.agent.overseer.keep_spares()
        monkeypatch.setattr(loading, "load_one", load_one)
        await one.ask()
        await wait_until(lambda: stuck.asked)
        await asyncio.sleep(0.5)
        await other.ask()
        _, sorry = await one.reply()
        _, answer = await other.reply()
        for phone in (one, other):
            await phone.hang_up()
        await served.idle()
    apology = b"".join(served.agent.announcements["apology"])
    assert [audio == apology for audio in (sorry, answer)] == [True, False]


async def test_a_late_engine_is_replaced_when_others_wait_for_it(overseen) -> None:
    """Not while nobody does, and not if another call was answered since: then it is busy, and not stuck."""
    overseer, engines = overseen
    first, work = engines.stt, Meter()
    with work.busy():
        overseer.note_answer("stt")
        overseer.note_fault(late("stt", 0.001, "stt_ms"), work)
        overseer.note_answer("stt")
        with overseer.waiting("stt"):
            assert not overseer.is_out("stt")
        await asyncio.sleep(0.01)
        overseer.note_fault(late("stt", 1.0, "stt_ms"), work)
        assert not overseer.is_out("stt")
        with overseer.waiting("stt"):
            assert overseer.is_out("stt")
            await overseer.wait_ready("stt", WITHIN_S)
    assert engines.stt is not first


async def test_calls_wait_for_a_fresh_engine_only_if_it_is_due(overseen, monkeypatch) -> None:
    """By how long the first one took to load: nobody waits in silence for one that cannot be ready in time."""
    overseer, engines = overseen
    built, load_one = asyncio.Event(), loading.load_one

    async def load_later(settings: object) -> object:
        await built.wait()
        return await load_one(settings)

    monkeypatch.setattr(loading, "load_one", load_later)
    engines.load_s.update(stt=0.0, llm=2 * WITHIN_S)
    for stage in ("stt", "llm"):
        overseer._begin(stage, "for a test")
    with pytest.raises(StageError) as refused:
        await overseer.wait_ready("llm", WITHIN_S)
    assert refused.value.kind is EngineFailure.REPLACED
    waiting = asyncio.create_task(overseer.wait_ready("stt", WITHIN_S))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    built.set()
    await waiting
    await wait_until(lambda: not overseer.problem)


async def test_work_that_goes_on_after_its_call_was_cancelled_is_late_as_well(overseen) -> None:
    """A caller who speaks on, or hangs up, while the engine is stuck: others do not wait until that counts as stuck."""
    overseer, engines = overseen
    first, work = engines.stt, Meter()
    with work.busy():
        overseer.note_cancelled("stt", work, 20.0)
        with overseer.waiting("stt"):
            assert not overseer.is_out("stt")
            await wait_until(lambda: engines.stt is not first)
    assert not overseer.problem


async def test_an_engine_that_answers_others_is_not_late_for_a_cancelled_call(overseen) -> None:
    """It works on something long that nobody reads, and is busy, not stuck."""
    overseer, engines = overseen
    first, work = engines.stt, Meter()
    with work.busy():
        overseer.note_cancelled("stt", work, 20.0)
        await asyncio.sleep(0)
        overseer.note_answer("stt")
        with overseer.waiting("stt"):
            await asyncio.sleep(0.1)
            assert not overseer.is_out("stt")
    assert engines.stt is first
