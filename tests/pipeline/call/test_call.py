"""A call's turn state machine, over a real WebSocket with scripted engines."""

import asyncio

import numpy as np
import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm import Message
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import Stage
from turngap_agent.tts.scripted import ScriptedSynthesizer, ScriptedTtsSettings

pytestmark = pytest.mark.anyio


class RecordingLanguageModel(ScriptedLanguageModel):
    """Keeps its requests, and whether each reply was read to its end or closed."""

    def __init__(self, reply: str = "Certainly, I can help you with that.", *, endless: bool = False) -> None:
        super().__init__(ScriptedLlmSettings(engine="scripted", reply=reply, first_token_ms=0, token_ms=0))
        self.endless = endless
        self.requests = []
        self.closed = 0

    async def reply(self, request):
        self.requests.append(request)
        try:
            async for token in super().reply(request):
                yield token
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


class HeardSpeechToText(ScriptedSpeechToText):
    """Records how much audio it gets; the first `stuck` utterances never finish."""

    def __init__(self, stuck: int = 0, texts: tuple[str, ...] = ()) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.stuck, self.texts = stuck, list(texts)
        self.heard = []
        self.called = asyncio.Event()

    async def transcribe(self, audio):
        self.called.set()
        self.heard.append(len(audio))
        if len(self.heard) <= self.stuck:
            await asyncio.Event().wait()
        return Transcript(self.texts.pop(0) if self.texts else "scripted words")


class BrokenOnce:
    """Wraps one method of an engine so that its first use fails."""

    def __init__(self, engine, method: str, fault: Exception) -> None:
        self._engine, self._method, self._fault = engine, method, fault

    def __getattr__(self, name):
        if name == self._method and self._fault is not None:
            fault, self._fault = self._fault, None
            return self._fail_async(fault) if name == "transcribe" else self._fail_stream(fault)
        return getattr(self._engine, name)

    @staticmethod
    def _fail_async(fault):
        async def fail(*_):
            raise fault

        return fail

    @staticmethod
    def _fail_stream(fault):
        async def fail(*_):
            raise fault
            yield

        return fail


async def test_a_question_is_answered_with_audio_and_a_mark(serve):
    """The reply is the script's tone, whole, followed by the mark of turn 0, attempt 1."""
    async with serve() as served, served.phone() as phone:
        await phone.ask()
        name, audio = await phone.reply()
    length = (len("Certainly, I can help you") + len("with that.")) * 50 * 8
    assert name == "turn-0-1"
    assert len(audio) == length
    assert np.sqrt(np.mean((mulaw.decode(audio) / 32768.0) ** 2)) == pytest.approx(10 ** (-12 / 20), rel=0.1)


async def test_the_first_message_is_small_and_none_is_large(serve):
    """40 ms leave at once, later messages carry at most 200 ms."""
    async with serve() as served, served.phone() as phone:
        await phone.ask()
        first = await phone.receive()
        second = await phone.receive()
    assert len(first.payload) == 320
    assert 0 < len(second.payload) <= 1600


async def test_the_trace_tells_the_turn(serve):
    """Turn span and stage spans carry what the instrument needs; stages follow each other without a hole."""
    async with serve() as served, served.phone() as phone:
        await phone.ask()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    facts = turn.attributes
    assert (turn.call_sid, turn.turn, turn.attempt) == ("CA1", 0, 1)
    assert facts[tracing.TRANSCRIPT] == "scripted words"
    assert facts[tracing.REPLY] == "Certainly, I can help you with that."
    assert facts[tracing.REPLY].startswith(facts[tracing.FIRST_CLAUSE_TEXT])
    assert facts[tracing.HEARD] is True
    assert facts[tracing.CANCELLED] is False
    assert tracing.ERROR not in facts
    stages = served.traces.stages()
    assert facts[tracing.SPANS] == len(served.traces.calls[0][0].spans) + len(served.traces.clauses)
    chain = [stages[stage] for stage in (Stage.TRANSCRIPTION, Stage.FIRST_TOKEN, Stage.FIRST_CLAUSE, Stage.FIRST_AUDIO)]
    assert chain[0].start_ns == facts[tracing.PROVISIONAL_NS] <= facts[tracing.CONFIRMED_NS]
    assert [span.end_ns for span in chain] == [
        *(span.start_ns for span in chain[1:]),
        stages[Stage.ENCODING].start_ns,
    ]
    assert stages[Stage.ENCODING].end_ns <= facts[tracing.SENT_NS]
    assert stages[Stage.ENDPOINTING].end_ns == facts[tracing.CONFIRMED_NS]
    arrivals = facts[tracing.ARRIVALS_NS]
    assert list(arrivals) == sorted(arrivals)
    assert facts[tracing.ARRIVAL_FIRST_CHUNK] == 1
    assert stages[Stage.ENDPOINTING].start_ns in arrivals
    call = served.traces.calls[0][-1].spans[0]
    assert (call.name, call.attributes[tracing.ATTEMPTS]) == (tracing.CALL_SPAN, 1)


async def test_a_later_clause_is_a_detail_span(serve):
    """Each clause after the first has a synthesis span."""
    async with (
        serve(llm=RecordingLanguageModel("Yes, I can help, if you tell me more.")) as served,
        served.phone() as phone,
    ):
        await phone.ask()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    names = [span.name for span in served.traces.calls[0][0].spans]
    assert names.count(tracing.SYNTHESIS_SPAN) == 1


async def test_each_clause_reports_what_of_the_reply_was_its_own(serve):
    """Texts, and samples that follow each other without a hole and add up to all that was sent."""
    async with (
        serve(llm=RecordingLanguageModel("Thank you, it is room twelve, on the left.")) as served,
        served.phone() as phone,
    ):
        await phone.ask()
        _, audio = await phone.reply()
        early = list(served.traces.clauses)
        await phone.hang_up()
        await served.idle()
    clauses = served.traces.clauses
    assert early == clauses  # sent while the call lasted
    texts = [span.attributes[tracing.CLAUSE_TEXT] for span in clauses]
    assert texts[0] == "Thank you,"
    assert " ".join(texts) == served.traces.turns[0].attributes[tracing.REPLY]
    starts = [span.attributes[tracing.CLAUSE_FIRST_SAMPLE] for span in clauses]
    counts = [span.attributes[tracing.CLAUSE_SAMPLES] for span in clauses]
    assert starts == [sum(counts[:place]) for place in range(len(counts))]
    assert sum(counts) == len(audio)
    assert clauses[0].start_ns == served.traces.turns[0].attributes[tracing.SENT_NS]
    assert all(span.start_ns <= span.end_ns for span in clauses)


async def test_the_conversation_is_remembered(serve):
    """The second request holds the first turn, the call's own block and a trace header."""
    llm = RecordingLanguageModel()
    async with serve(llm=llm) as served, served.phone() as phone:
        for _ in range(2):
            await phone.ask()
            await phone.reply()
    first, second = llm.requests
    assert first.history == ()
    assert second.history == (
        Message("user", "scripted words"),
        Message("assistant", "Certainly, I can help you with that."),
    )
    assert first.call_block == second.call_block
    assert first.headers["traceparent"] != second.headers["traceparent"]
    assert first.max_tokens == 24


async def test_every_call_has_its_own_block(serve):
    """No two calls share the text after the system prompt."""
    llm = RecordingLanguageModel()
    async with serve(llm=llm) as served:
        for name in "12":
            async with served.phone(name) as phone:
                await phone.ask()
                await phone.reply()
    one, two = (request.call_block for request in llm.requests)
    assert one.split()[:16] != two.split()[:16]


async def test_barge_in_clears_and_trims_the_memory(serve):
    """Speech while the reply is playing: `clear`, and the next request remembers only what was heard of the reply."""
    llm = RecordingLanguageModel(reply="One two three, " * 8)
    async with serve("tts.ms_per_character=200", llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply(echo=False)
        await asyncio.sleep(1.5)  # the line plays at its own pace: by now a word of three seconds' worth has been heard
        await phone.speak(700)
        await phone.cleared()
        await phone.hush(400)
        name, _ = await phone.reply()
    assert name == "turn-1-1"
    assert "One" in llm.requests[1].history[1].text
    assert len(llm.requests[1].history[1].text) < len("One two three, " * 8) / 2


async def test_barge_in_stops_the_language_model(serve):
    """A reply that is still being made when the caller speaks is closed, and never marked."""
    llm = RecordingLanguageModel(reply="One two three, ", endless=True)
    async with serve(llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.receive()
        await phone.speak(700)
        await phone.cleared()
        await served.ended(1)
        assert llm.closed == 1
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.HEARD] is True


async def test_no_clear_after_the_reply_has_played(serve):
    """Once the mark has been echoed, speech is simply the next turn."""
    async with serve() as served, served.phone() as phone:
        await phone.ask()
        await phone.reply()
        await phone.ask()
        name, audio = await phone.reply()
    assert name == "turn-1-1"
    assert audio


async def test_a_caller_who_resumes_is_transcribed_whole(serve):
    """Speech before anything was sent prolongs the turn: attempt 2 hears both parts, attempt 1 is cancelled unheard."""
    stt = HeardSpeechToText(stuck=1)
    async with serve(stt=stt) as served, served.phone() as phone:
        await phone.ask()
        await stt.called.wait()
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-0-2"
    assert stt.heard[1] >= stt.heard[0] + 8 * 400
    first, second = served.traces.turns
    assert (first.turn, first.attempt, second.turn, second.attempt) == (0, 1, 0, 2)
    assert first.attributes[tracing.CANCELLED] is True
    assert first.attributes[tracing.HEARD] is False
    assert second.attributes[tracing.HEARD] is True


async def test_a_caller_who_never_stops_is_answered_anyway(serve):
    """At the longest turn the profile allows the agent replies, although the caller still speaks."""
    async with serve("endpointing.max_turn_ms=1000") as served, served.phone() as phone:
        await phone.speak(1040)
        name, audio = await phone.reply()
    assert name == "turn-0-1"
    assert audio


@pytest.mark.parametrize("text", [" ", "Mm-hm."])
async def test_no_words_no_reply(serve, text):
    """A transcript without words is noted with its reason; the next turn is answered."""
    async with serve(stt=HeardSpeechToText(texts=(text,))) as served, served.phone() as phone:
        await phone.ask()
        await served.ended(1)
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert name == "turn-1-1"
    empty, _ = served.traces.turns
    assert "no words" in empty.attributes[tracing.ERROR]


@pytest.mark.parametrize(
    ("stage", "method", "fault"),
    [
        ("stt", "transcribe", EngineError("out of memory")),
        ("llm", "reply", EngineError("out of memory")),
        ("tts", "speak", RuntimeError("a defect")),
    ],
)
async def test_an_engine_failure_costs_the_turn_not_the_call(serve, stage, method, fault):
    """The caller hears an apology, the failed turn's span has the reason, and the next turn is answered."""
    engine = {
        "stt": ScriptedSpeechToText(ScriptedSttSettings(engine="scripted", delay_ms=0)),
        "llm": RecordingLanguageModel(),
        "tts": ScriptedSynthesizer(ScriptedTtsSettings(engine="scripted", first_audio_ms=0)),
    }[stage]
    async with serve(**{stage: BrokenOnce(engine, method, fault)}) as served, served.phone() as phone:
        await phone.ask()
        sorry, apology = await phone.reply()
        await phone.ask()
        name, _ = await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert (sorry, name) == ("turn-0-1", "turn-1-1")
    assert apology == b"".join(served.agent.announcements["apology"])
    failed, _ = served.traces.turns
    assert str(fault) in failed.attributes[tracing.ERROR]
    assert (failed.attributes[tracing.FAULT_STAGE], failed.attributes[tracing.FAULT_KIND]) == (stage, "raised")


async def test_a_capped_reply_ends_with_a_whole_clause(serve):
    """What follows the last clause boundary within the cap is not spoken."""
    llm = RecordingLanguageModel(reply="I can help you, and then I would go on about")
    async with serve("llm.max_tokens=6", llm=llm) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    (turn,) = served.traces.turns
    assert turn.attributes[tracing.REPLY] == "I can help you,"


@pytest.mark.parametrize("politely", [True, False])
async def test_a_call_that_ends_frees_everything(serve, politely, caplog):
    """With or without `stop`: no task is left, the engine's generator closed, the line free, spans exported."""
    llm = RecordingLanguageModel(endless=True)
    async with serve(llm=llm) as served:
        before = asyncio.all_tasks()
        async with served.phone() as phone:
            await phone.ask()
            await phone.receive()
            if politely:
                await phone.stop()
                await phone.closed()
        await served.idle()
        assert not {task for task in asyncio.all_tasks() - before if not task.done()} - served.http.server_state.tasks
        assert llm.closed == 1
        assert len(served.traces.turns) == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_two_calls_do_not_mix(serve):
    """Two at once get their own replies on their own streams."""
    async with serve() as served, served.phone("1") as one, served.phone("2") as two:
        await one.ask()
        await two.ask()
        for phone in (two, one):
            message = await phone.receive()
            assert message.stream_sid == phone.stream_sid
            assert (await phone.reply())[0] == "turn-0-1"
