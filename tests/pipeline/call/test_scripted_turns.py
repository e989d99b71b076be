"""What a scenario settles of a turn reaches the engines where weights are random, and nowhere else."""

import pytest
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.telephony import script
from turngap_agent.telephony.script import TurnScript

pytestmark = pytest.mark.anyio

TURNS = script.format_parameters([TurnScript("one two", 5), TurnScript("three", 7)])


class Model(ScriptedLanguageModel):
    """Keeps the requests it receives."""

    def __init__(self):
        super().__init__(ScriptedLlmSettings(engine="scripted", first_token_ms=0, token_ms=0))
        self.requests = []

    async def reply(self, request):
        self.requests.append((request.words, request.reply_tokens))
        async for token in super().reply(request):
            yield token


class Recogniser(ScriptedSpeechToText):
    """On random weights: returns the scripted words."""

    def __init__(self):
        super().__init__(ScriptedSttSettings(engine="scripted", text="its own", delay_ms=0))

    async def transcribe_as(self, audio, words):
        return Transcript(words, scripted=True)


async def record_three_turns(serve, *overrides, recogniser):
    llm = Model()
    async with serve(*overrides, stt=recogniser, llm=llm) as served, served.phone(custom_parameters=TURNS) as phone:
        for _ in range(3):
            await phone.ask()
            await phone.reply()
    return llm.requests


async def test_each_turn_has_its_words_and_length(serve):
    """In order; a turn that the scenario does not have is as its last."""
    requests = await record_three_turns(serve, "weightless=true", recogniser=Recogniser())
    assert requests == [("one two", 5), ("three", 7), ("three", 7)]


async def test_a_recogniser_with_words_of_its_own_keeps_them(serve):
    """Only random weights use scripted words; the reply's length is scripted in any case."""
    own = ScriptedSpeechToText(ScriptedSttSettings(engine="scripted", text="its own", delay_ms=0))
    requests = await record_three_turns(serve, "weightless=true", recogniser=own)
    assert requests == [("its own", 5), ("its own", 7), ("its own", 7)]


async def test_an_agent_with_weights_ignores_the_script(serve):
    """A caller can't put words into the mouth of a real agent."""
    requests = await record_three_turns(serve, recogniser=Recogniser())
    assert requests == [("its own", None)] * 3


async def test_a_damaged_script_ends_the_call_with_the_reason(serve):
    """Before anything is measured with it."""
    async with serve("weightless=true") as served, served.phone(custom_parameters={"turn-0": "hello"}) as phone:
        code, reason = await phone.closed()
    assert code == 1008
    assert "turn-0" in reason
