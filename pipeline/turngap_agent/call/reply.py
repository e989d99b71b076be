"""One attempt at answering a turn: transcription, language model, synthesis, encoding, sending.

Three coroutines follow the transcript, so that the language model goes on while its first clause is spoken, and audio
is ready (but held) until the end of the turn is confirmed: `_think` → clauses → `_speak` → messages → `_deliver`.
Until then a language model that goes in step with its reader thinks of no more than the first clause.
A stage's end is the next one's start, one reading of the clock, so that no time falls between stages.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass

from turngap_agent import meter, tracing
from turngap_agent.call.apology import excused
from turngap_agent.call.conversation import says_something
from turngap_agent.call.encoding import LineEncoder
from turngap_agent.call.line import Line
from turngap_agent.clock import now_ns
from turngap_agent.errors import EngineError
from turngap_agent.inject import Injection
from turngap_agent.llm import InStep, Message, Request
from turngap_agent.llm.clauses import ClauseSplitter
from turngap_agent.loading import Engines
from turngap_agent.stt import AudioF32, FixedWork, Transcript
from turngap_agent.telemetry.metrics import TurnResult
from turngap_agent.telemetry.recorder import AttemptNotes
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage
from turngap_agent.tts import Spoken

SPECULATED = ("none", "transcription", "generation", "synthesis")
"""How far an attempt may go before the end of the turn is confirmed: the settings of a profile, in order."""
_SENTENCE_END = (".", "!", "?", "…")
_log = logging.getLogger("turngap.call")


@dataclass(frozen=True, slots=True)
class Question:
    """What an attempt answers, and with what memory of the call."""

    audio: AudioF32
    """The caller's utterance, 8 kHz."""
    end_sample: int
    """Where in the stream it ends."""
    earlier_words: str
    """What was said before `rest_from`, transcribed at a pause."""
    rest_from: int
    """Where in `audio` the rest begins, which is still to be transcribed."""
    call_block: str
    history: tuple[Message, ...]
    context: tuple[Spoken, ...]
    max_tokens: int
    apology: str = ""
    """Said where the language model fails."""
    preface: str = ""
    """A clause to say before what the language model says."""
    script: TurnScript | None = None
    """The turn's words and its reply's length, for engines on random weights."""
    speculate: str = "synthesis"
    """The last stage of `SPECULATED` that may run before the end of the turn is confirmed."""


class Reply:
    """One attempt. `run` it as a task; cancel that task to stop everything at once."""

    def __init__(
        self, engines: Engines, injection: Injection, line: Line, notes: AttemptNotes, question: Question
    ) -> None:
        self._engines, self._injection, self._line = engines, injection, line
        self.question = question
        self.notes = notes
        self.words = ""
        """The caller's, as transcribed."""
        self._begun_ns = notes.started_ns
        self.result: TurnResult | None = None
        """None while it runs."""
        self.lost = False
        """An engine has failed: what is said from then on is an apology, and no part of the conversation."""
        self.sent_payload = bytearray()
        """All audio handed to the line, μ-law."""
        self.first_sent_ns = 0
        """When the first of it was; 0 before."""
        self._texts: list[str] = []
        self._samples: list[int] = []
        self._confirmed = asyncio.Event()
        self._clauses: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        self._messages: asyncio.Queue[tuple[str, bytes, int] | None] = asyncio.Queue()

    @property
    def text(self) -> str:
        """What has been handed to the synthesiser, whole."""
        return " ".join(self._texts)

    @property
    def clauses(self) -> list[tuple[str, int]]:
        """The clauses with how many samples of each were sent."""
        return list(zip(self._texts, self._samples, strict=True))

    @property
    def mark_name(self) -> str:
        """The mark after the reply's last audio."""
        return f"turn-{self.notes.turn}-{self.notes.attempt}"

    @property
    def confirmed(self) -> bool:
        """Whether it may be heard."""
        return self._confirmed.is_set()

    @property
    def came_to_nothing(self) -> bool:
        """It failed, and nobody has heard anything of it: the turn is worth another attempt."""
        return self.result is TurnResult.FAILED and not self.sent_payload

    def waited(self, *, all_stopped: bool) -> None:
        """Until now the engines were still at the work of a void attempt: that is no time of this one's stages."""
        self._begun_ns = now_ns()
        self.notes.fact(tracing.WAITED_MS, round((self._begun_ns - self.notes.started_ns) / 1e6))
        if not all_stopped:
            self.notes.fact(tracing.BESIDE_VOID, True)

    def confirm(self) -> None:
        """The caller is done: the reply may be heard."""
        self._confirmed.set()

    async def run(self) -> None:
        """Answer; failures end up in `result` and in the notes, never here."""
        meter.CURRENT.set(self.notes.meter)
        try:
            self.conclude(await self._answer())
        except (Exception, BaseExceptionGroup) as fault:  # noqa: BLE001  # the turn is lost, the call goes on
            self._failed(fault)
            self.conclude(TurnResult.FAILED)

    def conclude(self, result: TurnResult | None = None) -> None:
        """Write down how it ended, once; without a `result` it was cancelled, perhaps before it ran."""
        if self.result is not None:
            return
        begun = TurnResult.FAILED if self.lost else TurnResult.INTERRUPTED
        self.result = result or (begun if self.sent_payload else TurnResult.CANCELLED)
        self.notes.fact(tracing.HEARD, bool(self.sent_payload))
        self.notes.fact(tracing.CANCELLED, self.result is TurnResult.CANCELLED)
        self.notes.fact(tracing.REPLY, self.text if self.sent_payload else "")
        self.notes.end(now_ns())

    def _failed(self, fault: BaseException) -> None:
        self.lost = True
        self.notes.fact(tracing.ERROR, _one_line(fault))
        _log.error("%s: turn %d failed: %s", self.notes.call_sid, self.notes.turn, _one_line(fault))

    async def _answer(self) -> TurnResult:
        begun_ns = await self._may_begin("transcription", self._begun_ns)
        await self._injection.wait(Stage.TRANSCRIPTION)
        transcript = await self._transcript(self.question.audio[self.question.rest_from :])
        self.words = f"{self.question.earlier_words} {transcript.text.strip()}".strip()
        transcribed_ns = now_ns()
        self.notes.stage(Stage.TRANSCRIPTION, begun_ns, transcribed_ns)
        if not transcript.scripted:  # a script's words say nothing of what was understood
            self.notes.fact(tracing.TRANSCRIPT, self.words)
        if not says_something(self.words):
            self.notes.fact(tracing.ERROR, "no words were recognised, so nothing was said")
            return TurnResult.EMPTY
        asked_ns = await self._may_begin("generation", transcribed_ns)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._think(asked_ns))
            group.create_task(self._speak())
            group.create_task(self._deliver())
        if not self.sent_payload:
            raise EngineError("the language model or the synthesiser gave nothing to say")
        return TurnResult.FAILED if self.lost else TurnResult.REPLIED

    async def _transcript(self, audio: AudioF32) -> Transcript:
        stt, script = self._engines.stt, self.question.script
        if script is not None and isinstance(stt, FixedWork):
            return await stt.transcribe_as(audio, script.words)
        return await stt.transcribe(audio)

    async def _may_begin(self, work: str, ready_ns: int) -> int:
        """When that work begins: at once, or when the end is confirmed where the profile speculates less far."""
        if SPECULATED.index(work) <= SPECULATED.index(self.question.speculate):
            return ready_ns
        await self._confirmed.wait()
        return now_ns()

    async def _think(self, asked_ns: int) -> None:
        question = self.question
        request = Request(
            call_block=question.call_block,
            history=question.history,
            words=self.words,
            max_tokens=question.max_tokens,
            headers={"traceparent": self.notes.traceparent},
            reply_tokens=question.script.reply_tokens if question.script is not None else None,
            waiting=self.confirmed,
            note=self.notes.fact,
        )
        splitter = ClauseSplitter()
        tokens = first_token_ns = 0
        await self._injection.wait(Stage.FIRST_TOKEN)
        reply = excused(self._engines.llm.reply(request), question.apology, self._failed)
        async with aclosing(reply) as pieces:
            async for piece in pieces:
                tokens += 1
                if tokens == 1:
                    first_token_ns = now_ns()
                    self.notes.stage(Stage.FIRST_TOKEN, asked_ns, first_token_ns)
                    if question.preface:
                        await self._hand_on(question.preface, first_token_ns)
                for clause in splitter.push(piece):
                    await self._hand_on(clause, first_token_ns)
                if self._texts and isinstance(self._engines.llm, InStep):
                    await self._confirmed.wait()  # the rest would be work for nothing if the caller goes on
        for clause in splitter.flush():
            # A reply that ran into its cap is cut at the last whole clause, where there is one.
            if tokens < question.max_tokens or not self._texts or clause.endswith(_SENTENCE_END):
                await self._hand_on(clause, first_token_ns)
        self._clauses.put_nowait(None)

    async def _hand_on(self, clause: str, first_token_ns: int) -> None:
        if not self._texts:
            await self._injection.wait(Stage.FIRST_CLAUSE)
        handed_ns = now_ns()
        if not self._texts:
            self.notes.stage(Stage.FIRST_CLAUSE, first_token_ns, handed_ns)
            self.notes.fact(tracing.FIRST_CLAUSE_TEXT, clause)
        self._texts.append(clause)
        self._samples.append(0)
        self._clauses.put_nowait((clause, handed_ns))

    async def _speak(self) -> None:
        tts = self._engines.tts
        lead_in = self._injection.delay_ns(Stage.LEAD_IN) * SAMPLE_RATE // 1_000_000_000
        encoder = LineEncoder(tts.sample_rate, lead_in)
        first_pcm_ns = index = messages = 0
        while (handed := await self._clauses.get()) is not None:
            text, handed_ns = handed
            begun_ns = now_ns()
            if index == 0:
                handed_ns = await self._may_begin("synthesis", handed_ns)
                await self._injection.wait(Stage.FIRST_AUDIO)
            async with aclosing(tts.speak(text, self.question.context)) as pieces:
                async for piece in pieces:
                    if not first_pcm_ns and len(piece):
                        first_pcm_ns = now_ns()
                        self.notes.stage(Stage.FIRST_AUDIO, handed_ns, first_pcm_ns)
                        await self._injection.wait(Stage.ENCODING)
                    for payload in encoder.push(piece):
                        message = self._line.message(payload)
                        messages += 1
                        if messages == 1:
                            self.notes.stage(Stage.ENCODING, first_pcm_ns, now_ns())
                        self._messages.put_nowait((message, payload, index))
                        await asyncio.sleep(0)  # it leaves, and other calls go on, before the next is coded
            for payload in encoder.flush():
                self._messages.put_nowait((self._line.message(payload), payload, index))
            if index:
                self.notes.detail(tracing.SYNTHESIS_SPAN, begun_ns, now_ns())
            index += 1
        self._messages.put_nowait(None)

    async def _deliver(self) -> None:
        await self._confirmed.wait()
        while (item := await self._messages.get()) is not None:
            message, payload, index = item
            first = not self.sent_payload
            self.sent_payload += payload
            self._samples[index] += len(payload)
            handed_ns = await self._line.play(message, payload)
            if first:
                self.first_sent_ns = handed_ns
                self.notes.fact(tracing.SENT_NS, handed_ns)
        if self.sent_payload:
            await self._line.mark(self.mark_name)


def _one_line(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    text = " ".join(str(fault).split())
    return text if isinstance(fault, EngineError) else f"{type(fault).__name__}: {text}"
