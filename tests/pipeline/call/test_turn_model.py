"""The turn model in a call: in doubt, broken, slow, and before any work has begun."""

import asyncio

import pytest
from turngap_agent import tracing
from turngap_agent.endpointing import Pause
from turngap_agent.errors import EngineError

from tests.pipeline.call.speculative import (
    LONG_MS,
    PATIENCE_S,
    SHORT_MS,
    SPECULATIVE,
    Blocking,
    Counted,
    Recording,
    expect_silence,
    soon,
)

pytestmark = pytest.mark.anyio


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
    queried, answer, answered = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)

    class Slow:
        async def completeness(self, audio):
            queried.set()
            await answer.wait()
            answered.release()
            return 1.0

        async def close(self):
            pass

    stt = Counted()
    async with serve(*SPECULATIVE, stt=stt, turn=Slow()) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(queried)
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await stt.wait_for_requests(2)
        await served.heard_all(phone)
        async with expect_silence(phone), asyncio.timeout(PATIENCE_S):
            answer.set()
            for _ in range(2):  # on the pause that is over, and on this one
                await answered.acquire()
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
        async with expect_silence(phone):
            await served.heard_all(phone)
        assert stt.heard == []
        await phone.speak(400)
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (name, len(stt.heard)) == ("turn-0-1", 1)
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.PROVISIONAL_NS] <= turn.attributes[tracing.CONFIRMED_NS]


class Reads(Recording):
    """A language model that also says whether a sentence ends; it notes what it was asked, in order."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.asked: list[str] = []

    async def reply(self, request):
        self.asked.append(f"reply to {request.words}")
        if self.fails:
            raise EngineError("a defect")
        if request.set_sentence_end is not None:
            self.asked.append("and its end")
            request.set_sentence_end(0.25)
        async for token in super().reply(request):
            yield token

    async def end_probability(self, request):
        self.asked.append(f"end of {request.words}")
        if self.fails:
            raise EngineError("a defect")
        return 0.25


class Judges:
    """A turn model that takes words too; notes the pauses that it was asked about."""

    def __init__(self, probability: float = 1.0) -> None:
        self.probability = probability
        self.pauses: list[Pause] = []
        self.asked = asyncio.Event()

    async def judge(self, pause):
        self.pauses.append(pause)
        self.asked.set()
        return self.probability

    async def completeness(self, audio):
        raise AssertionError("a model that takes words is asked with them")

    async def close(self):
        pass


async def test_the_words_are_read_in_the_replys_own_request(serve):
    """Nothing is asked before the reply: its request brings the sentence's end, for the turn model."""
    llm, turn = Reads(), Judges()
    async with serve(*SPECULATIVE, stt=Counted(), llm=llm, turn=turn) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(turn.asked)
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-1"
    (pause,) = turn.pauses
    assert (pause.words, pause.sentence_end, pause.question) == ("words 1", 0.25, "")
    assert len(pause.audio) > 400 * 8
    assert llm.asked == ["reply to words 1", "and its end"]


@pytest.mark.parametrize("fails", [False, True])
async def test_where_no_reply_is_generated_yet_the_words_are_read_alone(serve, fails):
    """With `speculate: transcription`; a reading that fails costs the probability only."""
    llm, turn = Reads(), Judges()
    llm.fails = fails
    early = (*SPECULATIVE, "endpointing.speculate=transcription")
    async with serve(*early, stt=Counted(), llm=llm, turn=turn) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(turn.asked)
        llm.fails = False
        await phone.hush(LONG_MS)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (pause,) = turn.pauses
    assert (pause.words, pause.sentence_end) == ("words 1", None if fails else 0.25)
    assert llm.asked[:2] == ["end of words 1", "reply to words 1"]


async def test_a_reply_that_fails_leaves_the_turn_model_its_words(serve):
    """Without the sentence's end; the turn still ends, and is answered by the next attempt."""
    llm, turn = Reads(fails=True), Judges()
    async with serve(*SPECULATIVE, stt=Counted(), llm=llm, turn=turn) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(turn.asked)
        llm.fails = False
        await phone.hush(LONG_MS)
        name, _ = await phone.reply()
    assert name == "turn-0-2"
    assert [(pause.words, pause.sentence_end) for pause in turn.pauses] == [("words 1", None)]


async def test_no_model_that_reads_means_no_reading(serve):
    """The language model is asked for the reply alone."""
    llm = Reads()
    async with serve(*SPECULATIVE, stt=Counted(), llm=llm) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await phone.reply()
    assert llm.asked == ["reply to words 1"]


async def test_words_that_are_not_known_yet_hold_up_nothing(serve):
    """A transcription that hangs leaves the model without its question; the turn still ends by silence."""
    stt, turn = Blocking(), Judges()
    async with serve(*SPECULATIVE, stt=stt, llm=Reads(), turn=turn) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(LONG_MS)
        await soon(stt.begun)
        await served.heard_all(phone)
        assert turn.pauses == []
        stt.release.set()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (notes,) = served.traces.turns
    assert notes.attributes[tracing.CONFIRMED_BY] == "silence"
