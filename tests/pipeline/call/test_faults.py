"""Engines that fail in a call, in every stage: the caller hears an apology, and the call goes on or ends politely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from turngap_agent import tracing
from turngap_agent.endpointing import Voicing
from turngap_agent.endpointing.energy import EnergyEngine, EnergySettings
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.server import media_socket
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.tts.scripted import ScriptedSynthesizer, ScriptedTtsSettings

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
SOON = (
    "deadlines.vad_ms=200",
    "deadlines.turn_ms=50",
    "deadlines.stt_ms=50",
    "deadlines.llm_first_token_ms=50",
    "deadlines.llm_token_ms=50",
    "deadlines.tts_first_audio_ms=50",
    "deadlines.tts_audio_ms=50",
)
Fault = Callable[[], Any]


async def hang() -> Any:
    await asyncio.Event().wait()


async def raise_memory() -> Any:
    raise MemoryError("no more of it")


class Hearing(ScriptedSpeechToText):
    """Does `faults`, one an utterance; then it hears words."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.faults = list(faults)

    async def transcribe(self, audio):
        return await self.faults.pop(0)() if self.faults else Transcript("words")


class Thinking(ScriptedLanguageModel):
    """After `words` of each reply it does one of `faults`; then it replies."""

    def __init__(self, *faults: Fault, words: str = "") -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", first_token_ms=0, token_ms=0))
        self.faults, self.words = list(faults), words

    async def reply(self, request):
        if self.faults:
            if self.words:
                yield self.words
            if (piece := await self.faults.pop(0)()) is not None:
                yield piece
            return
        async for token in super().reply(request):
            yield token


class Speaking(ScriptedSynthesizer):
    """After `pieces` of a clause it does one of `faults`; then it speaks."""

    def __init__(self, *faults: Fault, pieces: int = 0) -> None:
        super().__init__(ScriptedTtsSettings(engine="scripted", first_audio_ms=0))
        self.faults, self.pieces = list(faults), pieces

    async def speak(self, text, context=()):
        fault = self.faults.pop(0) if self.faults else None
        count = 0
        async for piece in super().speak(text, context):
            if fault is not None and count == self.pieces:
                if (other := await fault()) is not None:
                    yield other
                return
            yield piece
            count += 1


def give(value: Any) -> Fault:
    """Return `value`."""
    return lambda: asyncio.sleep(0, value)


NOISE = np.full(2400, np.nan, np.float32)
FAULTS = [
    ("stt", Hearing(hang), "deadline", 50.0),
    ("stt", Hearing(raise_memory), "raised", None),
    ("stt", Hearing(give(None)), "garbage", None),
    ("stt", Hearing(give(Transcript("x" * 3_000_000))), "garbage", None),
    ("llm", Thinking(hang), "deadline", 50.0),
    ("llm", Thinking(hang, words="Certainly, I can help you, and then "), "deadline", 50.0),
    ("llm", Thinking(give(None)), "nothing", None),
    ("llm", Thinking(give("\x00\x1b")), "garbage", None),
    ("tts", Speaking(hang), "deadline", 50.0),
    ("tts", Speaking(hang, pieces=2), "deadline", 50.0),
    ("tts", Speaking(give(None)), "nothing", None),
    ("tts", Speaking(give(NOISE), pieces=2), "garbage", None),
]


@pytest.mark.parametrize(("stage", "engine", "kind", "deadline_ms"), FAULTS)
async def test_the_caller_hears_an_apology_and_the_call_goes_on(serve, stage, engine, kind, deadline_ms, caplog):
    """Whatever the engine did, before the first word or in the middle; span, metrics and one line in the log say it."""
    async with serve(*SOON, **{stage: engine}) as served, served.phone() as phone:
        await phone.ask()
        sorry, audio = await phone.reply()
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
        counted = served.count("turngap_engine_faults_total", stage=stage, kind=kind)
    apology = b"".join(served.agent.announcements["apology"])
    assert (sorry, name) == ("turn-0-1", "turn-1-1")
    assert audio.endswith(apology)
    failed, answered = served.traces.turns
    facts = failed.attributes
    assert (facts[tracing.FAULT_STAGE], facts[tracing.FAULT_KIND]) == (stage, kind)
    assert facts.get(tracing.FAULT_DEADLINE_MS) == deadline_ms
    assert facts[tracing.REPLY].endswith(served.agent.profile.announcements.apology)
    assert tracing.ERROR not in answered.attributes
    assert counted == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


async def test_the_second_failed_turn_in_a_row_ends_the_call_politely(serve):
    """With last words that were spoken at the start; other calls do not notice."""
    stt = Hearing(raise_memory, raise_memory)
    async with serve(*SOON, stt=stt) as served, served.phone("1") as phone:
        await phone.ask()
        await phone.reply()
        await phone.ask()
        _, audio = await phone.reply()
        assert audio == b"".join(served.agent.announcements["failing"])
        code, reason = await phone.closed()
        assert (code, "2 failed turns in a row" in reason) == (media_socket.NORMAL, True)
        async with served.phone("2") as other:
            await other.ask()
            assert (await other.reply())[0] == "turn-0-1"
        await served.idle()


async def test_failures_with_answers_between_them_end_no_call(serve):
    """Only those in a row count."""
    stt = Hearing(raise_memory)
    async with serve(*SOON, stt=stt) as served, served.phone() as phone:
        names = []
        for _ in range(4):
            await phone.ask()
            names.append((await phone.reply())[0])
            stt.faults = [raise_memory] if len(names) == 2 else []
        await phone.hang_up()
    assert names == [f"turn-{turn}-1" for turn in range(4)]


@pytest.mark.parametrize("fault", ["stt raise", "llm hang", "tts garbage"])
async def test_a_fault_in_a_barge_in_is_not_noticed_by_another_call(serve, fault):
    """The caller who spoke over the agent hears an apology, then answers; the call beside it only answers."""
    asks = {"custom_parameters": {"turngap-fault": f"{fault} barge-in once"}}
    overrides = ("deadlines.llm_first_token_ms=300", "tts.ms_per_character=100")
    async with serve(*overrides, faults=True) as served:
        async with served.phone("1", **asks) as phone, served.phone("2") as other:
            heard = []
            await phone.ask()
            await phone.reply(echo=False)
            await phone.speak(700)
            await phone.cleared()
            await other.ask()
            await phone.hush(400)
            for caller in (phone, other):
                heard.append((await caller.reply())[1])
                await caller.ask()
                heard.append((await caller.reply())[1])
            for caller in (phone, other):
                await caller.hang_up()
        await served.idle()
        assert served.count("turngap_engine_faults_total", stage=fault.split()[0]) == 1
    apology = b"".join(served.agent.announcements["apology"])
    assert [apology in audio for audio in heard] == [True, False, False, False]
    failed = [tracing.ERROR in turn.attributes for turn in served.traces.turns]
    assert (len(failed), sum(failed)) == (5, 1)


async def test_silence_has_a_limit_whatever_is_slow(serve):
    """No stage misses its deadline, and together they are too slow: the caller hears an apology."""
    async with serve("deadlines.silence_ms=50", stt=Hearing(hang)) as served, served.phone() as phone:
        await phone.ask()
        _, audio = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert audio == b"".join(served.agent.announcements["apology"])
    facts = served.traces.turns[0].attributes
    assert (facts[tracing.FAULT_STAGE], facts[tracing.FAULT_DEADLINE_MS]) == ("stt", 50)
    assert "deadlines.silence_ms" in facts[tracing.ERROR]


async def test_a_caller_who_spoke_and_was_not_understood_is_asked_again(serve):
    """After a second of speech without a word; the call does not end for it."""
    stt = Hearing(*[give(Transcript(" "))] * 3)
    async with serve(*SOON, stt=stt) as served, served.phone() as phone:
        for turn in range(3):
            await phone.speak(1400)
            await phone.hush(400)
            name, audio = await phone.reply()
            assert (name, audio) == (f"turn-{turn}-1", b"".join(served.agent.announcements["not_understood"]))
        await phone.ask()
        assert (await phone.reply())[0] == "turn-3-1"


class Detecting(EnergyEngine):
    """Its detectors do what `push` does."""

    def __init__(self, push: Callable[[Any], Any]) -> None:
        super().__init__(EnergySettings(engine="energy"))
        self.push = push

    def detector(self):
        return self


async def never(pcm):
    await hang()


async def nothing(pcm):
    return []


async def nonsense(pcm):
    return [Voicing(256, float("nan"))]


@pytest.mark.parametrize(("push", "kind"), [(never, "deadline"), (nothing, "nothing"), (nonsense, "garbage")])
async def test_a_detector_that_fails_is_replaced_by_one_by_level(serve, push, kind):
    """What it had not judged is judged again: no word is lost, and the caller is answered."""
    stt = Hearing()
    async with serve(*SOON, vad=Detecting(push), stt=stt) as served, served.phone() as phone:
        await phone.ask()
        name, _ = await phone.reply()
        counted = served.count("turngap_engine_faults_total", stage="vad", kind=kind)
    assert (name, counted) == ("turn-0-1", 1)


@pytest.mark.parametrize(("answer", "kind"), [(hang, "deadline"), (give(float("nan")), "garbage")])
async def test_a_turn_model_that_hangs_or_returns_nonsense_costs_only_time(serve, answer, kind):
    """The turn ends by silence, the next one too: the queries go on."""

    class Model:
        async def completeness(self, audio):
            return await answer()

        async def close(self):
            pass

    policy = ("endpointing.policy=smart_turn", "endpointing.provisional_ms=96", "endpointing.max_silence_ms=400")
    async with serve(*SOON, *policy, turn=Model()) as served, served.phone() as phone:
        for turn in range(2):
            await phone.speak(400)
            await phone.hush(600)
            assert (await phone.reply())[0] == f"turn-{turn}-1"
        await wait_until(lambda: served.count("turngap_engine_faults_total", stage="turn", kind=kind))
