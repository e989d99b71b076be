"""One attempt at answering a turn: transcription, language model, synthesis, encoding, sending.

Three coroutines follow the transcript, so that the language model continues while its first clause is synthesised, and
audio is ready (but held) until the end of the turn is confirmed: `_generate` → clauses → `_synthesise` → messages →
`_deliver`. Until then a language model that generates on demand makes no more than the first clause. The end of a stage
is the start of the next, one reading of the clock, so no time falls between stages.

An engine that fails costs the reply, or the rest of it: the caller hears an apology whose audio was made at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sized
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from turngap_agent import deadlines, meter, tracing
from turngap_agent.call import Agent
from turngap_agent.call.announcements import Announcement, choose_texts
from turngap_agent.call.checks import ClauseAudio, ReplyText, check_probability, check_transcript
from turngap_agent.call.conversation import has_words
from turngap_agent.call.encoding import ReplyEncoder
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.call.question import SPECULATION_LEVELS, Question
from turngap_agent.clock import now_ns
from turngap_agent.deadlines import FaultKind, StageError, StreamLimits
from turngap_agent.endpointing import JudgesPauses, Pause
from turngap_agent.engines import EngineKind
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.llm import GeneratesOnDemand, JudgesSentences, Request
from turngap_agent.llm.clauses import SIZES, SIZES_WITHOUT_EARLY_PHRASES, ClauseSplitter
from turngap_agent.stt import AudioF32, FixedWork, Transcript
from turngap_agent.telemetry.metrics import TurnResult
from turngap_agent.telemetry.recorder import AttemptNotes
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tracing import Stage

UNDERSTANDABLE_SAMPLES = SAMPLE_RATE
"""A caller who has spoken for a second hears that no words were recognised; after a cough the agent stays silent."""
_SENTENCE_END = (".", "!", "?", "…")
_log = logging.getLogger("turngap.call")


@dataclass(slots=True)
class _SentClause:
    """The clause whose audio is being sent."""

    index: int
    first_sample: int
    start_ns: int
    end_ns: int


class Reply:
    """One attempt. `run` it as a task; cancel that task to stop everything at once."""

    def __init__(self, agent: Agent, outbound: OutboundAudio, notes: AttemptNotes, question: Question) -> None:
        self._agent, self._outbound = agent, outbound
        self._engines, self._injection = agent.engines, agent.injection
        self._deadlines = agent.profile.deadlines
        self._guard = deadlines.Guard(agent.overseer)
        self.question = question
        self.notes = notes
        self.words = ""
        """The caller's words, as transcribed."""
        self._sentence_end: float | None = None
        """The language model's probability that the caller's sentence ends with these words."""
        self._words_read = asyncio.Event()
        self._started_ns = notes.started_ns
        self._transcribed = False
        self._clauses_spoken = 0
        self._confirmed_ns = self._audible_until_ns = 0
        self.result: TurnResult | None = None
        """None while it runs."""
        self.engine_failed = False
        """Whether what follows is an apology, and not part of the conversation."""
        self.sent_payload = bytearray()
        """All audio handed to the outbound stream, μ-law."""
        self.first_sent_ns = 0
        """When the first of it was sent; 0 before."""
        self._texts: list[str] = []
        self._samples: list[int] = []
        self._sending: _SentClause | None = None
        self._confirmed = asyncio.Event()
        self._clauses: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        self._messages: asyncio.Queue[tuple[str, bytes, int] | None] = asyncio.Queue()

    @property
    def text(self) -> str:
        """The whole text handed to the synthesiser."""
        return " ".join(self._texts)

    @property
    def clauses(self) -> list[tuple[str, int]]:
        """The clauses, each with the number of its samples that were sent."""
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
    def failed_unheard(self) -> bool:
        """Whether it failed before any of it was heard: the turn is worth another attempt."""
        return self.result is TurnResult.FAILED and not self.sent_payload

    async def read_pause(self) -> Pause:
        """Return what the attempt knows of the pause in which it began: when its words are read, or will not be."""
        await self._words_read.wait()
        question = next((one.text for one in reversed(self.question.history) if one.role == "assistant"), "")
        return Pause(self.question.audio, self.words, self._sentence_end, question)

    def end_wait(self, *, all_stopped: bool) -> None:
        """Note that it waited until now for engines at work for a void attempt: no time of this attempt's stages."""
        self._started_ns = now_ns()
        self.notes.fact(tracing.WAITED_MS, round((self._started_ns - self.notes.started_ns) / 1e6))
        if not all_stopped:
            self.notes.fact(tracing.BESIDE_VOID, True)

    def confirm(self) -> None:
        """Allow it to be heard: the caller is done."""
        if not self.confirmed:
            self._confirmed_ns = now_ns()
            self._confirmed.set()

    async def run(self) -> None:
        """Answer; failures are recorded in `result` and in the notes, never raised."""
        meter.CURRENT.set(self.notes.meter)
        try:
            self.conclude(await self._answer_in_time())
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # the turn is lost, the call continues
            await self._fail(_first(error))
            self.conclude(TurnResult.FAILED)

    def conclude(self, result: TurnResult | None = None) -> None:
        """Record how it ended, once; without a `result` it was cancelled, perhaps before it ran."""
        if self.result is not None:
            return
        self._words_read.set()
        self._end_clause()
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
            if error.stage == "tts" and error.kind is FaultKind.GARBAGE:
                await self._outbound.clear()  # what came before it may be noise too
        faults.WATCH.report("an engine of the agent", _one_line(error))
        _log.error("%s: turn %d failed: %s", self.notes.call_sid, self.notes.turn, _one_line(error))
        # Before the end of the turn is confirmed nobody waits: the turn then gets another attempt.
        if self.confirmed and not self.question.last_chance:
            await self._say(Announcement.APOLOGY)

    async def _say(self, announcement: Announcement) -> None:
        """Play an announcement after what was sent of the reply."""
        self._end_clause()
        while self._samples and not self._samples[-1]:  # of these nothing was sent
            del self._samples[-1], self._texts[-1]
        self._texts.append(getattr(choose_texts(self._agent.profile), announcement.value))
        self._samples.append(0)
        self._messages = asyncio.Queue()
        for payload in self._agent.announcements[announcement]:
            self._messages.put_nowait((self._outbound.message(payload), payload, len(self._texts) - 1))
        self._messages.put_nowait(None)
        await self._deliver()

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
        await self._confirmed.wait()
        while True:
            now = now_ns()
            if unheard := self._outbound.unheard_samples:
                self._audible_until_ns = now + unheard * NS_PER_SAMPLE
            due_ns = max(self._confirmed_ns, self._audible_until_ns) + round(self._deadlines.silence_ms * 1e6)
            if (left_ns := due_ns - now) <= 0:
                limit.reschedule(0)
                return
            await asyncio.sleep(left_ns / 1e9)

    def _stage_at_work(self) -> EngineKind:
        if not self._transcribed:
            return "stt"
        return "tts" if self._clauses_spoken < len(self._texts) else "llm"

    async def _answer(self) -> TurnResult:
        started_ns = await self._start_of("transcription", self._started_ns)
        await self._injection.wait(Stage.TRANSCRIPTION)
        transcript = await self._transcribe(self.question.audio[self.question.rest_from :])
        self.words = f"{self.question.earlier_words} {transcript.text.strip()}".strip()
        self._transcribed = True
        transcribed_ns = now_ns()
        self.notes.stage(Stage.TRANSCRIPTION, started_ns, transcribed_ns)
        if not transcript.scripted:  # scripted words are no evidence of what was understood
            self.notes.fact(tracing.TRANSCRIPT, self.words)
        if not has_words(self.words):
            return await self._end_without_words()
        if not self._reads_sentence():
            self._words_read.set()
        elif not self._may_begin("generation"):
            await self._read_sentence()
        requested_ns = await self._start_of("generation", transcribed_ns)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._generate(requested_ns))
            group.create_task(self._synthesise())
            group.create_task(self._deliver())
        if not self.sent_payload:
            raise EngineError("the language model or the synthesiser produced nothing to say")
        return TurnResult.FAILED if self.engine_failed else TurnResult.REPLIED

    async def _end_without_words(self) -> TurnResult:
        if self.words or self.question.speech_samples < UNDERSTANDABLE_SAMPLES:
            self.notes.fact(tracing.ERROR, "no words were recognised, so the agent stayed silent")
            return TurnResult.EMPTY
        self._words_read.set()
        await self._confirmed.wait()
        self.notes.fact(tracing.ERROR, "no words were recognised, so the agent asked the caller to repeat them")
        self.notes.fact(tracing.FAULT_STAGE, "stt")
        self.notes.fact(tracing.FAULT_KIND, FaultKind.NOTHING)
        await self._say(Announcement.NOT_UNDERSTOOD)
        return TurnResult.EMPTY

    async def _transcribe(self, audio: AudioF32) -> Transcript:
        stt, script = self._engines.stt, self.question.script

        async def work() -> Transcript:
            if script is not None and isinstance(stt, FixedWork):
                return await stt.transcribe_as(audio, script.words)
            return await stt.transcribe(audio)

        return await self._guard.result("stt", self._deadlines.stt_ms, "stt_ms", work, check_transcript)

    def _reads_sentence(self) -> bool:
        """Whether the turn model waits for the language model's reading of the words."""
        wanted = isinstance(self._engines.turn, JudgesPauses) and not self.confirmed
        return wanted and isinstance(self._engines.llm, JudgesSentences)

    async def _read_sentence(self) -> None:
        """Ask the language model whether the words are a whole sentence, where no reply is generated that would say it.

        What it computes for that is kept, so that the reply costs so much less.
        """
        llm, question = self._engines.llm, self.question
        assert isinstance(llm, JudgesSentences)
        request = Request(question.call_block, question.history, self.words, question.max_tokens)
        limit_ms, key = self._deadlines.llm_first_token_ms, "llm_first_token_ms"
        try:
            self._sentence_end = await self._guard.result(
                "llm", limit_ms, key, lambda: llm.end_probability(request), check_probability
            )
        except EngineError as error:  # the turn then ends by silence; the reply will show whether the engine works
            _log.error("%s: reading the caller's words: %s", self.notes.call_sid, _one_line(error))
        self._words_read.set()

    def _note_sentence_end(self, probability: float) -> None:
        with contextlib.suppress(TypeError, ValueError):  # the turn then ends by silence
            self._sentence_end = check_probability(probability)
        self._words_read.set()

    async def _start_of(self, work: str, ready_ns: int) -> int:
        """Return when `work` starts: at once, or when the end is confirmed if the profile does not speculate so far."""
        if self._may_begin(work):
            return ready_ns
        await self._confirmed.wait()
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
            set_sentence_end=None if self._words_read.is_set() else self._note_sentence_end,
        )
        splitter = ClauseSplitter(SIZES if question.early_phrase else SIZES_WITHOUT_EARLY_PHRASES)
        tokens = first_token_ns = 0
        await self._injection.wait(Stage.FIRST_TOKEN)
        most_tokens = max(question.max_tokens, request.reply_tokens or 0)
        d, llm = self._deadlines, self._engines.llm
        limits = StreamLimits(d.llm_first_token_ms, "llm_first_token_ms", d.llm_token_ms, "llm_token_ms")
        reply = self._guard.stream("llm", limits, lambda: llm.reply(request), ReplyText(most_tokens), _is_empty)
        async with aclosing(reply) as pieces:
            async for piece in pieces:
                tokens += 1
                if tokens == 1:
                    self._words_read.set()  # an engine that failed, or an apology, has not read them
                    first_token_ns = now_ns()
                    self.notes.stage(Stage.FIRST_TOKEN, requested_ns, first_token_ns)
                    if question.preface:
                        await self._put_clause(question.preface, first_token_ns)
                for clause in splitter.push(piece):
                    await self._put_clause(clause, first_token_ns)
                if self._texts and isinstance(llm, GeneratesOnDemand):
                    await self._confirmed.wait()  # the rest would be wasted work if the caller resumes
        for clause in splitter.flush():
            # A reply that reached its token limit is cut at the last whole clause, if there is one.
            if tokens < question.max_tokens or not self._texts or clause.endswith(_SENTENCE_END):
                await self._put_clause(clause, first_token_ns)
        self._clauses.put_nowait(None)

    async def _put_clause(self, clause: str, first_token_ns: int) -> None:
        if not self._texts:
            await self._injection.wait(Stage.FIRST_CLAUSE)
        handed_ns = now_ns()
        if not self._texts:
            self.notes.stage(Stage.FIRST_CLAUSE, first_token_ns, handed_ns)
            self.notes.fact(tracing.FIRST_CLAUSE_TEXT, clause)
        self._texts.append(clause)
        self._samples.append(0)
        self._clauses.put_nowait((clause, handed_ns))

    async def _synthesise(self) -> None:
        tts, d = self._engines.tts, self._deadlines
        limits = StreamLimits(d.tts_first_audio_ms, "tts_first_audio_ms", d.tts_audio_ms, "tts_audio_ms")
        lead_in_samples = self._injection.delay_ns(Stage.LEAD_IN) * SAMPLE_RATE // 1_000_000_000
        encoder = ReplyEncoder(tts.sample_rate, lead_in_samples)
        first_pcm_ns = index = messages = 0
        while (handed := await self._clauses.get()) is not None:
            text, handed_ns = handed
            started_ns = now_ns()
            if index == 0:
                handed_ns = await self._start_of("synthesis", handed_ns)
                await self._injection.wait(Stage.FIRST_AUDIO)
            speech = self._guard.stream(
                "tts",
                limits,
                partial(tts.speak, text, self.question.context),
                ClauseAudio(text, tts.sample_rate),
                _is_empty,
            )
            async with aclosing(speech) as pieces:
                async for piece in pieces:
                    if not first_pcm_ns and len(piece):
                        first_pcm_ns = now_ns()
                        self.notes.stage(Stage.FIRST_AUDIO, handed_ns, first_pcm_ns)
                        await self._injection.wait(Stage.ENCODING)
                    for payload in encoder.push(piece):
                        message = self._outbound.message(payload)
                        messages += 1
                        if messages == 1:
                            self.notes.stage(Stage.ENCODING, first_pcm_ns, now_ns())
                        self._messages.put_nowait((message, payload, index))
                        await asyncio.sleep(0)  # let it leave, and other calls run, before the next is encoded
            for payload in encoder.flush():
                self._messages.put_nowait((self._outbound.message(payload), payload, index))
            if index:
                self.notes.detail(tracing.SYNTHESIS_SPAN, started_ns, now_ns())
            index += 1
            self._clauses_spoken = index
        self._messages.put_nowait(None)

    async def _deliver(self) -> None:
        await self._confirmed.wait()
        while (item := await self._messages.get()) is not None:
            message, payload, index = item
            first, first_sample = not self.sent_payload, len(self.sent_payload)
            if self._sending is not None and self._sending.index != index:
                self._end_clause()
            self.sent_payload += payload
            self._samples[index] += len(payload)
            handed_ns = await self._outbound.play(message, payload)
            self._audible_until_ns = handed_ns + self._outbound.unheard_samples * NS_PER_SAMPLE
            self._sending = self._sending or _SentClause(index, first_sample, handed_ns, handed_ns)
            self._sending.end_ns = handed_ns
            if first:
                self.first_sent_ns = handed_ns
                self.notes.fact(tracing.SENT_NS, handed_ns)
        self._end_clause()
        if self.sent_payload:
            await self._outbound.mark(self.mark_name)

    def _end_clause(self) -> None:
        """Report the clause that was being sent."""
        clause, self._sending = self._sending, None
        if clause is not None:
            text, samples = self._texts[clause.index], self._samples[clause.index]
            self.notes.clause(text, clause.first_sample, samples, clause.start_ns, clause.end_ns)


def _is_empty(item: Sized) -> bool:
    return not len(item)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, EngineError) else f"{type(error).__name__}: {text}"
