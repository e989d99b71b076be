"""How far an attempt goes before the end of the turn is confirmed, over a real WebSocket with scripted engines."""

import pytest

from pipeline import tracing
from pipeline.call.reply import SPECULATED
from pipeline.tracing import Stage
from tests.pipeline.call.test_call import HeardSpeechToText, RecordingLanguageModel
from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio

POLICY = (
    "endpointing.policy=speculative",
    "endpointing.provisional_ms=96",
    "endpointing.min_silence_ms=640",
    "endpointing.max_silence_ms=640",
    "endpointing.model={engine: scripted, probability: 1}",
)
WORK = {"transcription": Stage.TRANSCRIPTION, "generation": Stage.FIRST_TOKEN, "synthesis": Stage.FIRST_AUDIO}


@pytest.mark.parametrize("speculate", SPECULATED)
async def test_work_beyond_the_profiles_choice_waits_for_the_confirmed_end(serve, speculate):
    """What may run ahead does so before the end is certain; the rest begins after it, and the answer is the same."""
    stt, llm = HeardSpeechToText(), RecordingLanguageModel()
    asked = (*POLICY, f"endpointing.speculate={speculate}")
    async with serve(*asked, stt=stt, llm=llm) as served, served.phone() as phone:
        await phone.speak(400)
        await phone.hush(300)  # a provisional end, and none that is certain
        if speculate != "none":
            await wait_until(lambda: bool(stt.heard))
        if speculate in ("generation", "synthesis"):
            await wait_until(lambda: bool(llm.requests))
        await phone.hush(600)
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.REPLY] == "Certainly, I can help you with that."
    confirmed_ns, stages = turn.attributes[tracing.CONFIRMED_NS], served.traces.stages()
    assert turn.attributes[tracing.PROVISIONAL_NS] < confirmed_ns
    allowed = SPECULATED.index(speculate)
    for work, stage in WORK.items():
        if SPECULATED.index(work) > allowed:
            assert stages[stage].start_ns >= confirmed_ns
        elif work != "synthesis":
            assert stages[stage].start_ns < confirmed_ns
    assert turn.attributes[tracing.SENT_NS] >= confirmed_ns
