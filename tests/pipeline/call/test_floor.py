"""Agent and caller heard at once, over a real WebSocket with scripted engines: pause, resume, yield."""

import asyncio
import contextlib

import numpy as np
import pytest
from turngap_agent import tracing
from turngap_agent.call import floor
from turngap_agent.call.outbound import FADE_SAMPLES
from turngap_agent.llm import Message
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import Clear, OutboundMark

from tests.pipeline.call.speculative import Blocking, Counted, soon

pytestmark = pytest.mark.anyio

LONG = "tts.ms_per_character=300"
"""Ten seconds of reply: whatever a test does is over before it has played."""
SHORT = "tts.ms_per_character=2"
SOON = "barge_in.landing_ms=2000"
"""A voice within two seconds of the reply's start is the caller going on."""


class RecordingLanguageModel(ScriptedLanguageModel):
    """Keeps its requests; after `free` tokens it waits for `go_on`."""

    def __init__(self, reply: str, free: int | None = None) -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", reply=reply, first_token_ms=0, token_ms=0))
        self.free, self.go_on = free, asyncio.Event()
        self.requests = []

    async def reply(self, request):
        self.requests.append(request)
        count = 0
        async for token in super().reply(request):
            if count == self.free:
                await self.go_on.wait()
            count += 1
            yield token


@contextlib.asynccontextmanager
async def listening(phone):
    """A caller who is silent: frames continue, as fast as the agent reads them."""

    async def send() -> None:
        while True:
            await phone.hush(32)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_backchannel_does_not_end_the_reply(serve):
    """`clear`, then the reply from where it was, to its end and its mark; nothing is answered, one turn in all."""
    async with serve(LONG) as served, served.phone() as phone:
        await phone.ask()
        _, whole = await phone.reply(echo=False)
        await phone.speak(300)
        await phone.hush(400)
        await phone.cleared()
        name, rest = await phone.reply(echo=False)
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-1"
    assert 0 < len(rest) <= len(whole)
    assert whole.endswith(rest[FADE_SAMPLES:])
    (turn,) = served.traces.turns
    (paused_ns,), (went_on_ns,) = (turn.attributes[key] for key in (tracing.PAUSED_NS, tracing.WENT_ON_NS))
    assert turn.attributes[tracing.SENT_NS] < paused_ns < went_on_ns
    assert turn.attributes[tracing.REPLY] == "Certainly, I can help you with that."
    assert tracing.HEARD_TEXT not in turn.attributes


async def test_each_backchannel_pauses_once(serve):
    """Two of them, each resumed; the second rest is a part of the first."""
    async with serve(LONG) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        rests = []
        for _ in range(2):
            await phone.speak(200)
            await phone.hush(400)
            await phone.cleared()
            rests.append((await phone.reply(echo=False))[1])
        await phone.hang_up()
        await served.idle()
    assert rests[0].endswith(rests[1][FADE_SAMPLES:])
    (turn,) = served.traces.turns
    assert len(turn.attributes[tracing.PAUSED_NS]) == len(turn.attributes[tracing.WENT_ON_NS]) == 2


async def test_the_reply_is_made_while_it_is_paused(serve):
    """Audio that is produced during a pause is held, and follows in its place."""
    llm = RecordingLanguageModel("One two three, four five six.", free=3)
    async with serve(LONG, llm=llm) as served, served.phone() as phone:
        await phone.ask()
        first = (await phone.receive()).payload
        await phone.speak(300)
        _, more = await phone.until(Clear)
        llm.go_on.set()
        await served.ended(1)
        await phone.hush(400)
        _, rest = await phone.reply(echo=False)
        await phone.hang_up()
        await served.idle()
    whole = (len("One two three,") + len("four five six.")) * 300 * 8
    unheard = len(first + more) + len(rest) - whole
    assert 0 <= unheard <= len(first + more)
    assert len(served.traces.turns) == 1


async def test_a_barge_in_is_answered_from_its_first_word(serve):
    """The paused reply is cancelled and remembered as far as it was heard; the caller's words are the next turn."""
    llm = RecordingLanguageModel("One two three. " * 2)
    async with serve(LONG, llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(700)
        await phone.hush(400)
        await phone.cleared()
        name, _ = await phone.until(OutboundMark, Clear)
        await phone.hang_up()
        await served.idle()
    assert name.name.startswith("turn-")
    first, _ = served.traces.turns
    assert len(first.attributes[tracing.PAUSED_NS]) == 1
    assert tracing.WENT_ON_NS not in first.attributes
    heard = first.attributes[tracing.HEARD_TEXT]
    assert first.attributes[tracing.REPLY].startswith(heard)
    assert llm.requests[1].history == (
        (Message("user", "scripted words"), Message("assistant", heard)) if heard else ()
    )


@pytest.mark.parametrize("speaks_ms", [150, 300, 700])
@pytest.mark.parametrize("reply_done", [True, False])
async def test_a_caller_who_goes_on_as_the_reply_begins_is_answered_whole(serve, speaks_ms, reply_done):
    """The agent is silent at once; its next attempt hears both parts, however short the second, and no reply between.

    It makes no difference whether the reply was still being made, or had been made and remembered.
    """
    llm = RecordingLanguageModel("One two three, four five six.", free=None if reply_done else 3)
    stt = Counted()
    async with serve(LONG, SOON, llm=llm, stt=stt) as served, served.phone() as phone:
        await phone.ask()
        if reply_done:
            await phone.reply(echo=False)
        else:
            await phone.receive()
        await phone.speak(speaks_ms)
        await phone.hush(400)
        await phone.cleared()
        llm.go_on.set()
        name, _ = await phone.reply(echo=False)
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-2"
    first, second = served.traces.turns
    assert first.attributes[tracing.HEARD] is True
    assert tracing.HEARD_TEXT in first.attributes
    assert tracing.WENT_ON_NS not in first.attributes
    assert second.attributes[tracing.TRANSCRIPT] == "words 2"
    assert stt.heard[1] >= (400 + 400 + speaks_ms) * 8  # the first part, the pause, the second part
    assert [request.history for request in llm.requests] == [(), ()]


async def test_a_barge_in_before_the_first_word_was_heard_continues_the_turn(serve):
    """However late it starts: of a question whose answer has not been heard no word may be lost."""
    llm = RecordingLanguageModel("Onehundredandelevenorso, two.")
    async with serve(LONG, llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(700)
        await phone.hush(400)
        await phone.cleared()
        assert (await phone.reply(echo=False))[0] == "turn-0-2"
    assert llm.requests[1].history == ()


async def test_the_turn_after_a_landing_is_a_new_one(serve):
    """The whole turn and its answer are remembered once, and the caller's next words are the next turn."""
    llm = RecordingLanguageModel("One two three.")
    async with serve("tts.ms_per_character=100", SOON, llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(300)
        await phone.hush(400)
        await phone.cleared()
        await phone.reply()
        await phone.ask()
        name, _ = await phone.reply()
    assert name == "turn-1-1"
    assert llm.requests[2].history == (
        Message("user", "scripted words"),
        Message("assistant", "One two three."),
    )


async def test_a_click_as_the_reply_begins_takes_nothing_back(serve):
    """Sound too short for speech is no word of the caller: the reply resumes."""
    async with serve(LONG, SOON) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(40)
        await phone.hush(400)
        await phone.cleared()
        assert (await phone.reply(echo=False))[0] == "turn-0-1"


async def test_a_landing_does_not_make_a_turn_longer_than_its_limit(serve):
    """Speech that would make the turn longer than `max_turn_ms` is the next one."""
    async with serve(LONG, SOON, "endpointing.max_turn_ms=1000") as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.hush(400)
        await phone.speak(300)
        await phone.hush(400)
        await phone.cleared()
        assert (await phone.reply(echo=False))[0] == "turn-1-1"


async def test_a_word_at_the_very_end_of_a_reply_is_the_next_turn(serve):
    """With no more than the tail left nothing is cleared, and a short word is answered."""
    async with serve(LONG, "barge_in.tail_ms=2000", "tts.ms_per_character=40") as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(200)
        await phone.hush(400)
        mark, _ = await phone.until(OutboundMark, Clear)
    assert mark == OutboundMark("MZ1", "turn-1-1")


@pytest.mark.parametrize("attenuation_db", [25, 30, 35])
@pytest.mark.parametrize("echo_known", [True, False])
async def test_the_agents_echo_does_not_interrupt_it(serve, attenuation_db, echo_known):
    """Its own returned audio is not a voice, unless the profile says that there are no echoes."""
    settings = ("vad.threshold_dbfs=-60", f"barge_in.echo_below_db={20 if echo_known else 90}")
    async with serve(LONG, *settings) as served, served.phone() as phone:
        await phone.ask()
        _, whole = await phone.reply(echo=False)
        echo = mulaw.decode(whole)[:8000] * 10 ** (-attenuation_db / 20)
        await phone.play(np.rint(echo).astype(np.int16))
        await phone.hang_up()
        await served.idle()
    (turn, *_) = served.traces.turns
    assert (tracing.PAUSED_NS in turn.attributes) is not echo_known


async def test_a_caller_who_never_stops_is_answered_politely(serve):
    """At the limit the reply starts with an apology, and continued speech does not stop it."""
    async with serve("endpointing.max_turn_ms=1000", "tts.ms_per_character=30") as served, served.phone() as phone:
        await phone.speak(1900)
        mark, audio = await phone.until(OutboundMark, Clear)
        await phone.hang_up()
        await served.idle()
    assert mark.name == "turn-0-1"
    (turn,) = served.traces.turns
    reply = "I am sorry to interrupt you. Certainly, I can help you with that."
    assert turn.attributes[tracing.REPLY] == reply
    assert turn.attributes[tracing.FIRST_CLAUSE_TEXT] == "I am sorry to interrupt you."
    assert len(audio) == (len(reply) - 2) * 30 * 8  # but for the blanks between the three clauses


async def test_speech_over_the_polite_answer_is_answered_after_it(serve):
    """The continued speech is the next turn, once the agent has finished."""
    async with serve("endpointing.max_turn_ms=1000", SHORT) as served, served.phone() as phone:
        await phone.speak(1900)
        assert (await phone.reply())[0] == "turn-0-1"
        async with listening(phone):
            assert (await phone.reply())[0] == "turn-1-1"


async def test_a_turn_in_many_pieces_has_the_same_limit(serve, monkeypatch):
    """A caller who pauses and resumes cannot postpone the answer for ever: the one at the limit is played."""
    uninterruptible, set_uninterruptible = asyncio.Event(), floor.Floor.set_uninterruptible

    def keep_flag(self, on):
        set_uninterruptible(self, on)
        if on:
            uninterruptible.set()

    monkeypatch.setattr(floor.Floor, "set_uninterruptible", keep_flag)
    stt = Blocking()
    async with serve("endpointing.max_turn_ms=1000", SHORT, stt=stt) as served, served.phone() as phone:
        await phone.speak(900)
        await phone.hush(400)
        await soon(stt.begun)
        await phone.speak(600)
        await phone.hush(400)
        await soon(uninterruptible)
        stt.release.set()
        assert (await phone.reply())[0] == "turn-0-1"
        async with listening(phone):
            assert (await phone.reply())[0] == "turn-1-1"


async def test_an_apology_is_optional(serve):
    """With an empty preface there is only the reply."""
    settings = ("endpointing.max_turn_ms=1000", "barge_in.limit_preface=''", SHORT)
    async with serve(*settings) as served, served.phone() as phone:
        await phone.speak(1900)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert served.traces.turns[0].attributes[tracing.REPLY] == "Certainly, I can help you with that."


async def test_delayed_decisions_keep_their_order(serve):
    """With a fault injected into endpointing a backchannel still only pauses."""
    async with serve(LONG, inject=["endpointing=30"]) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await phone.speak(300)
        await phone.hush(400)
        await phone.cleared()
        assert (await phone.reply(echo=False))[0] == "turn-0-1"
        await phone.hang_up()
        await served.idle()
    assert len(served.traces.turns) == 1
