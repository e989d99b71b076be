"""Speculation in a call: work before the confirmed end is held, then sent at once, or leaves no trace."""

import pytest
from turngap_agent import tracing
from turngap_agent.llm import Message

from tests.pipeline.call.speculative import (
    LONG_MS,
    MIDDLE_MS,
    SHORT_MS,
    SPECULATIVE,
    Counted,
    Ready,
    Recording,
    expect_silence,
    soon,
)

pytestmark = pytest.mark.anyio


async def test_nothing_is_heard_before_the_end_is_sure(serve):
    """Audio is made in the first short silence, and none of it leaves."""
    tts = Ready()
    async with serve(*SPECULATIVE, tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with expect_silence(phone):
            await soon(tts.done)
            await served.heard_all(phone)


async def test_only_the_first_clause_is_made_before_the_end_is_confirmed(serve):
    """The rest would be wasted if the caller resumes; it follows once the end is confirmed, and nothing is missing."""
    reply = "Certainly, I can help you with that. Please tell me your name, and the day on which you come."
    llm, tts = Recording(reply=reply), Ready()
    async with serve(*SPECULATIVE, "endpointing.model=null", llm=llm, tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(tts.done)
        await served.heard_all(phone)
        ahead = llm.taken
        await phone.hush(LONG_MS)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.REPLY] == reply
    assert ahead <= len(["Certainly,", "I", "can", "help", "you", "with", "that."])
    assert llm.taken == len(reply.split())


async def test_held_audio_is_sent_when_the_end_is_confirmed(serve):
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
    """One transcription, of the audio up to the provisional end, however long the silence lasts."""
    stt = Counted()
    async with serve(*SPECULATIVE, stt=stt) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(3000)
        await phone.reply()
        await phone.hush(3000)
        await served.heard_all(phone)
        await phone.hang_up()
        await served.idle()
    assert len(stt.heard) == 1
    assert stt.heard[0] <= 8 * (400 + 150)


async def test_a_caller_who_resumes_is_answered_once_and_whole(serve):
    """The first attempt is void: not heard, not in the history, its reply not in its span; the second hears all."""
    stt, llm, tts = Counted(), Recording(), Ready()
    async with serve(*SPECULATIVE, stt=stt, llm=llm, tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        await soon(tts.done)
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


async def test_of_a_long_turn_only_the_rest_is_transcribed_again(serve):
    """With `stt.whole_s` the words up to a pause are kept; question and memory hold all of them."""
    stt, llm, tts = Counted(), Recording(), Ready()
    async with serve(*SPECULATIVE, "stt.whole_s=3", stt=stt, llm=llm, tts=tts) as served, served.phone() as phone:
        await phone.speak(2000)
        await phone.hush(SHORT_MS)
        await soon(tts.done)
        await phone.speak(2000)
        await phone.hush(LONG_MS)
        await phone.reply()
    assert [request.words for request in llm.requests] == ["words 1", "words 1 words 2"]
    assert stt.heard[1] < stt.heard[0] + 8 * 500
