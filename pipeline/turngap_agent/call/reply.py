"""One attempt at answering a turn: transcription, language model, synthesis, encoding, sending.

Three coroutines follow the transcript, so that the language model continues while its first clause is synthesised, and
audio is ready (but held) until the end of the turn is confirmed: `_generate` → clauses → `Speaking` → messages →
`Delivery`. Until then a language model that generates on demand makes no more than the first clause. The end of a stage
is the start of the next, one reading of the clock, so no time falls between stages.

An engine that fails costs the reply, or the rest of it: the caller hears an apology whose audio was made at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from turngap_agent import deadlines, meter, tracing
from turngap_agent.call import Agent
from turngap_agent.call.announcements import Announcement, choose_texts
from turngap_agent.call.caller_words import CallerWords
from turngap_agent.call.checks import ReplyText, is_empty
from turngap_agent.call.conversation import has_words
from turngap_agent.call.delivery import Delivery
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.question import SPECULATION_LEVELS, Question
from turngap_agent.call.speaking import Speaking
from turngap_agent.clock import now_ns
from turngap_agent.deadlines import EngineFailure, StageError, StreamLimits
from turngap_agent.endpointing import Pause
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError, release_frames
from turngap_agent.gpu import faults
from turngap_agent.llm import GeneratesOnDemand, Request
from turngap_agent.llm.clauses import SIZES, SIZES_WITHOUT_EARLY_PHRASES, ClauseSplitter
from turngap_agent.telemetry.metrics import TurnResult
from turngap_agent.telemetry.recorder import AttemptNotes
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tracing import Stage

UNDERSTANDABLE_SAMPLES = SAMPLE_RATE
"""A caller who has spoken for a second hears at once that no words were recognised; after a cough the agent waits."""
_SENTENCE_END = (".", "!", "?", "…")
_log = logging.getLogger("turngap.call")


class Reply:
    """One attempt. `run` it as a task; cancel that task to stop everything at once."""

    def __init__(self, agent: Agent, outbound: OutboundAudio, notes: AttemptNotes, question: Question) -> None:
        self._agent, self._outbound = agent, outbound
        self._engines, self._injection = agent.engines, agent.injection
        self._deadlines = agent.profile.deadlines
        self._guard = deadlines.Guard(agent.overseer)
        self.question = question
        self.notes = notes
        self._words = CallerWords(agent, self._guard, question, notes.call_sid)
        self._delivery = Delivery(outbound, notes)
        self._speaking = Speaking(agent, self._guard, question.context, notes, self._delivery)
        self._started_ns = notes.started_ns
        self._transcribed = False
        self.result: TurnResult | None = None
        """None while it runs."""
        self.engine_failed = False
        """Whether what follows is an apology, and not part of the conversation."""

    @property
    def words(self) -> str:
        """The caller's words, as transcribed."""
        return self._words.text

    @property
    def text(self) -> str:
        """The whole text handed to the synthesiser."""
        return " ".join(self._delivery.texts)

    @property
    def clauses(self) -> list[tuple[str, int]]:
        """The clauses, each with the number of its samples that were sent."""
        return self._delivery.clauses

    @property
    def sent_payload(self) -> bytearray:
        """All audio handed to the outbound stream, μ-law."""
        return self._delivery.payload

    @property
    def first_sent_ns(self) -> int:
        """When the first of it was sent; 0 before."""
        return self._delivery.first_sent_ns

    @property
    def confirmed(self) -> bool:
        """Whether it may be heard."""
        return self._delivery.confirmed.is_set()

    @property
    def failed_unheard(self) -> bool:
        """Whether it failed before any of it was heard: the turn is worth another attempt."""
        return self.result is TurnResult.FAILED and not self.sent_payload

    async def read_pause(self) -> Pause:
        """Return what the attempt knows of the pause in which it began: when its words are read, or will not be."""
        return await self._words.pause()

    def end_wait(self, *, all_stopped: bool) -> None:
        """Note that it waited until now for engines at work for a void attempt: no time of this attempt's stages."""
        self._started_ns = now_ns()
        self.notes.fact(tracing.WAITED_MS, round((self._started_ns - self.notes.started_ns) / 1e6))
        if not all_stopped:
            self.notes.fact(tracing.BESIDE_VOID, True)

    def confirm(self) -> None:
        """Allow it to be heard: the caller is done."""
        self._delivery.confirm()

    async def run(self) -> None:
        """Answer; failures are recorded in `result` and in the notes, never raised."""
        await self._carry_out(self._answer_in_time)

    async def ask_to_repeat(self) -> None:
        """Ask the caller to say it again, in place of an answer; failures are recorded as those of `run`."""
        self.confirm()
        await self._carry_out(self._say_not_understood)

    async def wait_for_silence(self, limit_ms: float) -> None:
        """Return once the caller has waited in silence for `limit_ms`: from the confirmed end, or the last audio."""
        await self._delivery.wait_for_silence(limit_ms)

    async def _carry_out(self, work: Callable[[], Awaitable[TurnResult]]) -> None:
        meter.CURRENT.set(self.notes.meter)
        try:
            self.conclude(await work())
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # the turn is lost, the call continues
            await self._fail(_first(error))
            self.conclude(TurnResult.FAILED)
            release_frames(error)

    def conclude(self, result: TurnResult | None = None) -> None:
        """Record how it ended, once; without a `result` it was cancelled, perhaps before it ran."""
        if self.result is not None:
            return
        self._words.set_read()
        self._delivery.end_clause()
        partial = TurnResult.FAILED if self.engine_failed else TurnResult.INTERRUPTED
        self.result = result or (partial if self.sent_payload else TurnResult.CANCELLED)
        self.notes.fact(tracing.HEARD, bool(self.sent_payload))
        self.notes.fact(tracing.CANCELLED, self.result is TurnResult.CANCELLED)
        self.notes.fact(tracing.REPLY, self.text if self.sent_payload else "")
        self.notes.end(now_ns())

    async def _fail(self, error: BaseException) -> None:
        """Note why the reply, or the rest of it, cannot be made, and say so to a caller who waits for it."""
        self.engine_failed = True
        self.notes.fact(tracing.ERROR, _one_line(error))
        if isinstance(error, StageError):
            self.notes.fact(tracing.FAULT_STAGE, error.stage)
            self.notes.fact(tracing.FAULT_KIND, error.kind)
            if error.deadline_ms is not None:
                self.notes.fact(tracing.FAULT_DEADLINE_MS, error.deadline_ms)
            if error.stage == "tts" and error.kind is EngineFailure.GARBAGE:
                await self._outbound.clear()  # what came before it may be noise too
        faults.WATCH.report("an engine of the agent", _one_line(error))
        _log.error("%s: turn %d failed: %s", self.notes.call_sid, self.notes.turn, _one_line(error))
        # Before the end of the turn is confirmed nobody waits: the turn then gets another attempt.
        if self.confirmed and not self.question.last_chance:
            await self._say(Announcement.APOLOGY)

    async def _say(self, announcement: Announcement) -> None:
        """Play an announcement after what was sent of the reply."""
        text = getattr(choose_texts(self._agent.profile), announcement.value)
        await self._delivery.say(text, self._agent.announcements[announcement])

    async def _answer_in_time(self) -> TurnResult:
        """Answer, unless the caller hears nothing for too long.

        Raises:
            StageError: an engine failed, or `deadlines.silence_ms` is over.
        """
        try:
            async with asyncio.timeout(None) as limit:
                watching = asyncio.create_task(self._watch_silence(limit))
                try:
                    return await self._answer()
                finally:
                    watching.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            fault = deadlines.late(self._stage_at_work(), self._deadlines.silence_ms, "silence_ms")
            self._agent.overseer.note_fault(fault, self.notes.meter)
            raise fault from None

    async def _watch_silence(self, limit: asyncio.Timeout) -> None:
        """Let `limit` expire once the caller has waited in silence for too long."""
        await self._delivery.wait_for_silence(self._deadlines.silence_ms)
        limit.reschedule(0)

    def _stage_at_work(self) -> EngineKind:
        if not self._transcribed:
            return "stt"
        return "tts" if self._speaking.n_spoken < len(self._delivery.texts) else "llm"

    async def _answer(self) -> TurnResult:
        started_ns = await self._start_of("transcription", self._started_ns)
        await self._injection.wait(Stage.TRANSCRIPTION)
        transcript = await self._words.transcribe()
        self._transcribed = True
        transcribed_ns = now_ns()
        self.notes.stage(Stage.TRANSCRIPTION, started_ns, transcribed_ns)
        if not transcript.scripted:  # scripted words are no evidence of what was understood
            self.notes.fact(tracing.TRANSCRIPT, self.words)
        if not has_words(self.words):
            return await self._end_without_words()
        if not self._words.are_waited_for(confirmed=self.confirmed):
            self._words.set_read()
        elif not self._may_begin("generation"):
            await self._words.read_sentence()
        requested_ns = await self._start_of("generation", transcribed_ns)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._generate(requested_ns))
            group.create_task(self._speaking.run(self._start_of))
            group.create_task(self._delivery.run())
        if not self.sent_payload:
            raise EngineError("the language model or the synthesiser produced nothing to say")
        return TurnResult.FAILED if self.engine_failed else TurnResult.REPLIED

    async def _end_without_words(self) -> TurnResult:
        if self.words or self.question.speech_samples < UNDERSTANDABLE_SAMPLES:
            self.notes.fact(tracing.ERROR, "no words were recognised, so the agent waited")
            return TurnResult.EMPTY
        self._words.set_read()
        await self._delivery.confirmed.wait()
        return await self._say_not_understood()

    async def _say_not_understood(self) -> TurnResult:
        self.notes.fact(tracing.ERROR, "no words were recognised, so the agent asked the caller to repeat them")
        self.notes.fact(tracing.FAULT_STAGE, "stt")
        self.notes.fact(tracing.FAULT_KIND, EngineFailure.NOTHING)
        await self._say(Announcement.NOT_UNDERSTOOD)
        return TurnResult.EMPTY

    async def _start_of(self, work: str, ready_ns: int) -> int:
        """Return when `work` starts: at once, or when the end is confirmed if the profile does not speculate so far."""
        if self._may_begin(work):
            return ready_ns
        await self._delivery.confirmed.wait()
        return now_ns()

    def _may_begin(self, work: str) -> bool:
        """Whether the profile lets `work` begin before the end is confirmed."""
        return SPECULATION_LEVELS.index(work) <= SPECULATION_LEVELS.index(self.question.speculate)

    async def _generate(self, requested_ns: int) -> None:
        question = self.question
        request = Request(
            call_block=question.call_block,
            history=question.history,
            words=self.words,
            max_tokens=question.max_tokens,
            headers={"traceparent": self.notes.traceparent},
            reply_tokens=question.script.reply_tokens if question.script is not None else None,
            waiting=self.confirmed,
            set_attribute=self.notes.fact,
            set_sentence_end=self._words.sentence_end_setter(),
        )
        splitter = ClauseSplitter(SIZES if question.early_phrase else SIZES_WITHOUT_EARLY_PHRASES)
        tokens = first_token_ns = 0
        await self._injection.wait(Stage.FIRST_TOKEN)
        most_tokens = max(question.max_tokens, request.reply_tokens or 0)
        d, llm = self._deadlines, self._engines.llm
        limits = StreamLimits(d.llm_first_token_ms, "llm_first_token_ms", d.llm_token_ms, "llm_token_ms")
        reply = self._guard.stream("llm", limits, self._ask_llm(request), ReplyText(most_tokens), is_empty)
        async with aclosing(reply) as pieces:
            async for piece in pieces:
                tokens += 1
                if tokens == 1:
                    self._words.set_read()  # an engine that failed, or an apology, has not read them
                    first_token_ns = now_ns()
                    self.notes.stage(Stage.FIRST_TOKEN, requested_ns, first_token_ns)
                    if question.preface:
                        await self._put_clause(question.preface, first_token_ns)
                for clause in splitter.push(piece):
                    await self._put_clause(clause, first_token_ns)
                if self._delivery.texts and isinstance(llm, GeneratesOnDemand):
                    await self._delivery.confirmed.wait()  # the rest would be wasted work if the caller resumes
        for clause in splitter.flush():
            # A reply that reached its token limit is cut at the last whole clause, if there is one.
            if tokens < question.max_tokens or not self._delivery.texts or clause.endswith(_SENTENCE_END):
                await self._put_clause(clause, first_token_ns)
        self._speaking.add_end()

    def _ask_llm(self, request: Request) -> Callable[[], AsyncIterator[str]]:
        return lambda: self._engines.llm.reply(request)  # looked up when it is asked: it may have been replaced

    async def _put_clause(self, clause: str, first_token_ns: int) -> None:
        first = not self._delivery.texts
        if first:
            await self._injection.wait(Stage.FIRST_CLAUSE)
        handed_ns = now_ns()
        if first:
            self.notes.stage(Stage.FIRST_CLAUSE, first_token_ns, handed_ns)
            self.notes.fact(tracing.FIRST_CLAUSE_TEXT, clause)
        self._speaking.add(clause, handed_ns)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, EngineError) else f"{type(error).__name__}: {text}"
