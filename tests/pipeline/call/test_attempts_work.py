"""Engines' work for an attempt in a call: counted, waited for, and never two attempts at once."""

import pytest
from turngap_agent import meter, tracing
from turngap_agent.call import background, turns
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings

from tests.pipeline.call.speculative import (
    LONG_MS,
    PATIENCE_S,
    SHORT_MS,
    SPECULATIVE,
    Blocking,
    Held,
    Ready,
    Recording,
    expect_silence,
    soon,
)

pytestmark = pytest.mark.anyio


async def test_a_repeated_start_waits_for_the_engine_to_let_go(serve, monkeypatch):
    """An engine that cannot be interrupted finishes the void attempt's work before the next one begins."""
    monkeypatch.setattr(background, "ABANDONED_S", PATIENCE_S)
    stt = Blocking()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(stt.begun)
        for _ in range(3):
            await phone.speak(200)
            await phone.hush(SHORT_MS)
        await phone.hush(LONG_MS)
        async with expect_silence(phone):
            await served.heard_all(phone)
        assert stt.requests == 1
        stt.release.set()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (name, stt.requests, stt.most_at_work) == ("turn-0-4", 2, 1)


async def test_one_calls_engine_work_does_not_stall_anothers_audio(serve):
    """While call 2's transcription holds its thread, the rest of call 1's reply is made and sent to its mark."""
    tts = Held()
    stt = Blocking()
    stt.release.set()
    async with serve(stt=stt, tts=tts) as served, served.phone("1") as one, served.phone("2") as two:
        await one.ask()
        await one.receive()
        stt.release.clear()
        stt.begun.clear()
        await two.ask()
        await soon(stt.begun)
        for _ in range(100):
            tts.out.release()
        name, audio = await one.reply()
        assert not stt.release.is_set()
        stt.release.set()
        assert (await two.reply())[0] == "turn-0-1"
    assert name == "turn-0-1"
    assert audio


async def test_every_attempt_reports_its_compute_time(serve):
    """Engine time of the heard and of the void attempt, in their spans and in the counters."""
    stt = ScriptedSpeechToText(ScriptedSttSettings(engine="scripted", delay_ms=20))
    tts = Ready()
    async with serve(*SPECULATIVE, stt=stt, llm=Recording(), tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(tts.done)
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
        wasted, heard = (served.count("turngap_engine_seconds_total", use=use) for use in ("wasted", "heard"))
    costs = [turn.attributes[tracing.COMPUTE_MS] for turn in served.traces.turns]
    assert len(costs) == 2
    assert min(costs) >= 20
    assert [wasted, heard] == pytest.approx([cost / 1000 for cost in costs], abs=0.001)


async def test_work_that_cannot_be_stopped_still_counts(serve, monkeypatch):
    """A call that ends while a void attempt's engine is at work waits a moment, so that its work is counted."""
    monkeypatch.setattr(turns, "LAST_WORK_S", PATIENCE_S)
    stt = Blocking()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(stt.begun)
        await phone.stop()
        await served.ended(1)
        assert served.traces.calls == []
        stt.release.set()
        await phone.closed()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.COMPUTE_MS] > 0


async def test_work_outside_of_attempts_is_not_counted():
    """Without an attempt there is a meter that is not read."""
    with meter.current().busy():
        pass
    assert meter.current().busy_ms == 0
