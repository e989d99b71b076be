"""A language model that fails in a turn: what the caller hears, and what becomes of the turn."""

import asyncio

import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings

pytestmark = pytest.mark.anyio
SORRY = "I am sorry, please try again."


class FailingOnce(ScriptedLanguageModel):
    """Its first reply breaks off after some words; keeps its requests."""

    def __init__(self, words: str = "") -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", first_token_ms=0, token_ms=0))
        self.words = words
        self.fault = "llm: vLLM is down"
        self.requests = []

    async def reply(self, request):
        self.requests.append(request)
        if len(self.requests) == 1:
            if self.words:
                yield self.words
            raise EngineError(self.fault)
        async for token in super().reply(request):
            yield token


@pytest.mark.parametrize("words", ["", "Certainly, I can help you, and then "])
async def test_the_caller_hears_it_and_the_turn_has_failed(serve, words: str) -> None:
    """Its span has the reason, it counts as failed, and the call does not remember it."""
    llm = FailingOnce(words)
    async with serve(f"llm.apology={SORRY}", llm=llm) as served, served.phone() as phone:
        await phone.ask()
        name, audio = await phone.reply()
        await phone.ask()
        again, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
        failures = served.count("turngap_turns_total", result="failed")
    assert (name, again) == ("turn-0-1", "turn-1-1")
    assert len(audio) > 0
    first, second = served.traces.turns
    assert first.attributes[tracing.REPLY].endswith(SORRY)
    assert first.attributes[tracing.HEARD] is True
    assert first.attributes[tracing.ERROR] == "llm: vLLM is down"
    assert tracing.ERROR not in second.attributes
    assert llm.requests[1].history == ()
    assert failures == 1


async def test_a_reply_that_loses_the_gpu_ends_the_agent(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under MPS, where such a fault is everybody's; without it the turn alone has failed."""
    llm = FailingOnce()
    fault = "gemma: CUDA error: an illegal memory access was encountered; this reply is lost"
    monkeypatch.setattr(llm, "fault", fault)
    faults.WATCH.arm()
    try:
        async with serve(llm=llm) as served, served.phone() as phone:
            await phone.ask()
            error = await asyncio.wait_for(faults.WATCH.wait(), 10)
            await phone.hang_up()
            await served.idle()
    finally:
        faults.WATCH.disarm()
    assert f"an engine of the agent: {fault}" in str(error)
