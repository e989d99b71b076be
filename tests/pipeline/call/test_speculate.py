"""How far an attempt goes before the end of the turn is confirmed, over a real WebSocket with scripted engines."""

import pytest
from turngap_agent import tracing
from turngap_agent.call.question import SPECULATION_LEVELS
from turngap_agent.tracing import Stage

from tests.pipeline.call.speculative import LONG_MS, SHORT_MS, SPECULATIVE, Counted, Held, Recording, expect_silence
from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio

WORK = {"transcription": Stage.TRANSCRIPTION, "generation": Stage.FIRST_TOKEN, "synthesis": Stage.FIRST_AUDIO}


@pytest.mark.parametrize("speculate", SPECULATION_LEVELS)
async def test_work_goes_as_far_ahead_as_the_profile_says(serve, speculate):
    """What may run ahead does so before the end is certain, unheard; the rest after it, and the answer is the same."""
    stt, llm, tts = Counted(), Recording(), Held()
    settings = (*SPECULATIVE, f"endpointing.speculate={speculate}", "endpointing.model=null")
    allowed = SPECULATION_LEVELS.index(speculate)
    ahead = tuple(int(SPECULATION_LEVELS.index(work) <= allowed) for work in WORK)

    def begin_call() -> tuple[int, int, int]:
        return len(stt.heard), len(llm.requests), tts.calls

    async with serve(*settings, stt=stt, llm=llm, tts=tts) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(SHORT_MS)
        async with expect_silence(phone):
            await served.heard_all(phone)
            await wait_until(lambda: begin_call() >= ahead)
        assert begin_call() == ahead
        for _ in range(100):
            tts.out.release()
        await phone.hush(LONG_MS)
        name, audio = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-1"
    assert audio
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.REPLY] == "Certainly, I can help you with that."
    confirmed_ns, stages = turn.attributes[tracing.CONFIRMED_NS], served.traces.stages()
    assert turn.attributes[tracing.PROVISIONAL_NS] < confirmed_ns <= turn.attributes[tracing.SENT_NS]
    for work, stage in WORK.items():
        if SPECULATION_LEVELS.index(work) > allowed:
            assert stages[stage].start_ns >= confirmed_ns
        else:
            assert stages[stage].start_ns < confirmed_ns
