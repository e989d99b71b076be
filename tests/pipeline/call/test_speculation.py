"""Speculation in a call: what begins before the end is sure is held, let go at once, or leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import meter, tracing, worker
from pipeline.call import leaving
from pipeline.llm import Message
from pipeline.llm.scripted import ScriptedLanguageModel
from pipeline.profile.llm import ScriptedLlmSettings
from pipeline.profile.stt import ScriptedSttSettings
from pipeline.profile.tts import ScriptedTtsSettings
from pipeline.stt import Transcript
from pipeline.stt.scripted import ScriptedSpeechToText
from pipeline.tts.scripted import ScriptedSynthesizer
from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio

SPECULATIVE = (
    "endpointing.policy=speculative",
    "endpointing.provisional_ms=96",
    "endpointing.min_silence_ms=320",
    "endpointing.max_silence_ms=640",
    "endpointing.threshold=0.9",
)
PATIENCE_S = 10
SHORT_MS, MIDDLE_MS, LONG_MS = 200, 480, 800
"""Silences: over the provisional end alone, over the least that confirms, over the most. Frames go as fast as they can,
so that an answer of the turn model comes when all of them have been heard."""


class Counted(ScriptedSpeechToText):
    """Transcribes at once; says how often, and when it was asked first."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.heard: list[int] = []
        self.asked = asyncio.Event()

    async def transcribe(self, audio):
        self.heard.append(len(audio))
        self.asked.set()
        return Transcript(f"words {len(self.heard)}")

    async def asked_times(self, count: int) -> None:
        """Return when it has been asked so often."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < count:
                self.asked.clear()
                await self.asked.wait()


class Blocking(ScriptedSpeechToText):
    """Works on a thread that cannot be interrupted, until `release` is set; notes how many do at once."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.pool = ThreadPoolExecutor(4)
        self.release = threading.Event()
        self.asked, self.begun = 0, asyncio.Event()
        self.at_work = self.most_at_work = 0

    async def transcribe(self, audio):
        self.asked += 1
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
    """Keeps its requests; `done` is set when a reply has been read to its end."""

    def __init__(self) -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", first_token_ms=0, token_ms=0))
        self.requests = []
        self.done = asyncio.Event()

    async def reply(self, request):
        self.requests.append(request)
        async for token in super().reply(request):
            yield token
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


@contextlib.asynccontextmanager
async def nothing_said(phone) -> AsyncIterator[None]:
    """Fails when the agent sends anything by the end of the block and of what is on its way."""
    yield
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await phone.socket.recv()


async def test_nothing_is_heard_before_the_end_is_sure(serve):
    """The whole reply is made in the first short silence, and none of it leaves."""
    llm = Recording()
    async with serve(*SPECULATIVE, llm=llm) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with nothing_said(phone), asyncio.timeout(PATIENCE_S):
            await llm.done.wait()


@pytest.mark.parametrize(
    ("ahead", "generated", "spoken"),
    [("transcription", 0, 0), ("generation", 1, 0), ("synthesis", 1, 1)],
)
async def test_work_goes_as_far_ahead_as_the_profile_says(serve, ahead, generated, spoken):
    """Before the end is sure; then the reply is made and heard all the same, without the turn model too."""
    stt, llm, tts = Counted(), Recording(), Held()
    settings = (*SPECULATIVE, f"endpointing.ahead={ahead}", "endpointing.model=null")
    async with serve(*settings, stt=stt, llm=llm, tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await stt.asked_times(1)
        await wait_until(lambda: len(llm.requests) >= generated and tts.calls >= spoken)
        async with nothing_said(phone):
            pass
        assert (len(llm.requests), tts.calls) == (generated, spoken)
        for _ in range(100):
            tts.out.release()
        await phone.hush(MIDDLE_MS)
        name, audio = await phone.reply()
    assert name == "turn-0-1"
    assert audio


async def test_what_was_held_is_let_go_when_the_end_is_sure(serve):
    """The attempt of the provisional end is the one that is heard; its decisions lie in the order of the path."""
    stt = Counted()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(MIDDLE_MS)
        name, audio = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (name, len(stt.heard)) == ("turn-0-1", 1)
    assert audio
    (turn,) = served.traces.turns
    facts = turn.attributes
    assert facts[tracing.PROVISIONAL_NS] < facts[tracing.CONFIRMED_NS] <= facts[tracing.SENT_NS]
    assert facts[tracing.CONFIRMED_BY] == "smart_turn"


async def test_more_silence_begins_nothing_again(serve):
    """One transcription, of the audio up to the provisional end, however long the silence goes on."""
    stt = Counted()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(3000)
        await phone.reply()
        await phone.hush(3000)
        await phone.hang_up()
        await served.idle()
    assert len(stt.heard) == 1
    assert stt.heard[0] <= 8 * (400 + 150)


async def test_a_caller_who_goes_on_is_answered_once_and_whole(serve):
    """The first attempt is void: not heard, not in the history, its reply not in its span; the second hears all."""
    stt, llm = Counted(), Recording()
    async with serve(*SPECULATIVE, stt=stt, llm=llm) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await llm.done.wait()
        await phone.speak(400)
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-2"
    assert stt.heard[1] >= stt.heard[0] + 8 * 400
    assert llm.requests[-1].history == (
        Message("user", "words 2"),
        Message("assistant", "Certainly, I can help you with that."),
    )
    void, heard, _ = served.traces.turns
    assert (void.attributes[tracing.CANCELLED], void.attributes[tracing.HEARD]) == (True, False)
    assert void.attributes[tracing.REPLY] == ""
    assert tracing.CONFIRMED_NS not in void.attributes
    assert heard.attributes[tracing.REPLY] == "Certainly, I can help you with that."


async def test_a_repeated_start_waits_for_the_engine_to_let_go(serve, monkeypatch):
    """An engine that cannot be interrupted finishes the void attempt's work before the next one begins."""
    monkeypatch.setattr(leaving, "ABANDONED_S", PATIENCE_S)
    stt = Blocking()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await stt.begun.wait()
        for _ in range(3):
            await phone.speak(200)
            await phone.hush(SHORT_MS)
        await phone.hush(LONG_MS)
        async with nothing_said(phone):
            assert stt.asked == 1
        stt.release.set()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (name, stt.asked, stt.most_at_work) == ("turn-0-4", 2, 1)


async def test_every_attempt_says_what_it_cost(serve):
    """Engine time of the heard and of the void attempt, in their spans and in the counters."""
    stt = ScriptedSpeechToText(ScriptedSttSettings(engine="scripted", delay_ms=20))
    llm = Recording()
    async with serve(*SPECULATIVE, stt=stt, llm=llm) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await llm.done.wait()
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


async def test_work_that_cannot_be_stopped_still_counts(serve):
    """A call that ends while a void attempt's engine is at work waits a moment, so that its work is counted."""
    stt = Blocking()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await stt.begun.wait()
        await phone.hang_up()
        stt.release.set()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.COMPUTE_MS] > 0


async def test_a_turn_that_does_not_sound_complete_waits_for_more_silence(serve):
    """With the model in doubt the end is confirmed by silence."""
    doubtful = (*SPECULATIVE, "endpointing.model={engine: scripted, probability: 0}")
    async with serve(*doubtful) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.CONFIRMED_BY] == "silence"


@pytest.mark.parametrize("policy", ["smart_turn", "speculative"])
async def test_a_turn_model_that_fails_costs_only_time(serve, policy):
    """The turn ends by silence, and is answered."""

    class Broken:
        async def completeness(self, audio):
            raise RuntimeError("a defect")

        async def close(self):
            pass

    async with serve(*SPECULATIVE, f"endpointing.policy={policy}", turn=Broken()) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-1"
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.CONFIRMED_BY] == "silence"


async def test_a_slow_turn_model_does_not_hold_up_hearing(serve):
    """While it works the caller is heard to go on; its answer on that pause then counts for nothing."""
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow:
        async def completeness(self, audio):
            asked.set()
            await answer.wait()
            return 1.0

        async def close(self):
            pass

    stt = Counted()
    async with serve(*SPECULATIVE, stt=stt, turn=Slow()) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await stt.asked_times(2)
        async with nothing_said(phone):
            answer.set()
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
    assert name == "turn-0-2"


async def test_smart_turn_begins_nothing_before_the_end_is_sure(serve):
    """No transcription in the short silence; one attempt when the end is confirmed."""
    stt = Counted()
    policy = (*SPECULATIVE, "endpointing.policy=smart_turn")
    async with serve(*policy, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with nothing_said(phone):
            pass
        assert stt.heard == []
        await phone.speak(400)
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (name, len(stt.heard)) == ("turn-0-1", 1)
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.PROVISIONAL_NS] <= turn.attributes[tracing.CONFIRMED_NS]


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
        async with asyncio.timeout(PATIENCE_S):
            await stt.begun.wait()
        for _ in range(100):
            tts.out.release()
        name, audio = await one.reply()
        assert not stt.release.is_set()
        stt.release.set()
        assert (await two.reply())[0] == "turn-0-1"
    assert name == "turn-0-1"
    assert audio


async def test_work_outside_of_attempts_counts_for_nobody():
    """Without an attempt there is a meter that nobody reads."""
    with meter.current().busy():
        pass
    assert meter.current().busy_ms == 0


async def test_of_a_long_turn_only_the_rest_is_transcribed_again(serve):
    """With `stt.whole_s` the words up to a pause are kept; question and memory hold all of them."""
    stt, llm = Counted(), Recording()
    async with serve(*SPECULATIVE, "stt.whole_s=3", stt=stt, llm=llm) as served, served.phone() as phone:
        await phone.speak(2000)
        await phone.hush(SHORT_MS)
        async with asyncio.timeout(PATIENCE_S):
            await llm.done.wait()
        await phone.speak(2000)
        await phone.hush(LONG_MS)
        await phone.reply()
    assert [request.words for request in llm.requests] == ["words 1", "words 1 words 2"]
    assert stt.heard[1] < stt.heard[0] + 8 * 500
