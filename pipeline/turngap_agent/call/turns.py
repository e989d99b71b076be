"""A call's turns and their attempts: started, confirmed, withdrawn, interrupted, and remembered.

A turn's life: speech starts → its end is decided provisionally (an attempt starts, its audio is held) → the end is
confirmed (the audio may be sent), or the caller resumes (the attempt is void, the turn continues with the next one).
Speech while nothing of the attempt has been sent prolongs the same turn, so that no words are lost. So does speech that
begins as the reply does: the end was taken too soon, and the reply is taken back. For a barge-in language model and
synthesiser are stopped and the memory is cut to what was heard.

One attempt is at work at a time: a new one waits until the engines have stopped working for cancelled ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial

from turngap_agent import tracing
from turngap_agent.call import Agent
from turngap_agent.call.background import CancelledWork, ContextPreparation, ReadAhead
from turngap_agent.call.conversation import Conversation, heard_text, make_call_block
from turngap_agent.call.floor import Floor, still_talking
from turngap_agent.call.inbound import InboundAudio, to_float
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.question import Question, WordsSoFar
from turngap_agent.call.reply import Reply
from turngap_agent.call.reprompts import Reprompt
from turngap_agent.clock import now_ns
from turngap_agent.endpointing import EndpointEvent, Pause
from turngap_agent.endpointing.utterance import samples
from turngap_agent.errors import EngineError, release_frames
from turngap_agent.stt import AudioF32
from turngap_agent.telemetry import logs
from turngap_agent.telemetry.metrics import TurnResult, WorkUse
from turngap_agent.telemetry.recorder import CallNotes
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage
from turngap_agent.tts import ContextUtterance

_transcripts = logging.getLogger(logs.TRANSCRIPTS)

LAST_WORK_S = 0.5
"""How long the end of a call waits for engines to stop, so that their work is counted."""


def longest_turn_samples(agent: Agent) -> int:
    """Return the profile's limit of a turn's length, samples at 8 kHz."""
    return agent.profile.endpointing.max_turn_ms * SAMPLE_RATE // 1000


class GivenUpError(EngineError):
    """Too many turns in a row have failed: the call ends, politely."""


class Turns:
    """The turns of one call."""

    def __init__(
        self,
        agent: Agent,
        inbound: InboundAudio,
        outbound: OutboundAudio,
        floor: Floor,
        notes: CallNotes,
        script: Sequence[TurnScript],
    ) -> None:
        self._agent, self._inbound, self._outbound, self._floor, self._notes = agent, inbound, outbound, floor, notes
        self._script = tuple(script)
        self._conversation = Conversation()
        self._call_block = make_call_block()
        self._read_ahead = ReadAhead(agent.engines, self._call_block, notes.call_sid)
        self._speech_context = ContextPreparation(agent.engines, notes.call_sid)
        self._words_so_far = WordsSoFar(agent.profile.stt.whole_s)
        self._cancelled = CancelledWork()
        self._reprompt = Reprompt(agent.profile.deadlines.silence_ms)
        self._tasks: dict[Reply, asyncio.Task[None]] = {}
        self._max_samples = longest_turn_samples(agent)
        self._turn, self._attempt, self._start_sample = -1, 0, 0
        self._goes_on = False
        """The reply was taken back, so the next speech belongs to the same turn."""
        self._failed = 0
        """Turns in a row whose caller got no answer, because an engine failed."""
        self._given_up = asyncio.Event()
        self.reply: Reply | None = None
        """The attempt that is being made or played, or that was played last; None once it is void."""

    @property
    def count(self) -> int:
        """The number of turns so far."""
        return self._turn + 1

    def audio(self, event: EndpointEvent) -> AudioF32:
        """Return the turn's audio up to the event, 8 kHz, shape (n,)."""
        return to_float(self._inbound.audio.codes(self._start_sample, event.at_sample))

    async def pause(self, event: EndpointEvent) -> Pause:
        """Return the turn up to the event, with its words once the attempt that began there knows them."""
        reply = self.reply
        if reply is None or reply.question.end_sample != event.at_sample:
            return Pause(self.audio(event))
        return await reply.read_pause()

    def has_room(self, event: EndpointEvent) -> bool:
        """Whether the turn may continue with this speech: it is not longer than a turn may be."""
        return event.at_sample - self._start_sample <= self._max_samples

    def start_speech(self, event: EndpointEvent) -> None:
        """Start a turn, or continue the last one if nothing of its reply was sent, or if that was taken back."""
        reply, goes_on = self.reply, self._goes_on
        self._goes_on = False
        self._reprompt.withdraw()
        if goes_on and self.has_room(event):
            return
        unheard = reply is not None and reply.result is None and not reply.sent_payload
        if unheard and self.has_room(event):
            self.withdraw()
            return
        if unheard and reply is not None and reply.confirmed:
            # The turn has reached its limit: the answer being made is played before the caller's speech counts again.
            self._floor.set_uninterruptible(True)
            self._floor.admit(event, reply)
            return
        self._turn, self._attempt, self._start_sample = self._turn + 1, 0, event.speech_start_sample
        self._words_so_far.reset()
        self._read_ahead.start(self._conversation.history)

    async def start_attempt(self, event: EndpointEvent) -> Reply:
        """Start an attempt at a turn whose end was decided."""
        decided_ns = now_ns()
        previous = self.reply
        if previous is not None and (previous.result is None or self._floor.is_over_agent(previous)):
            await self.interrupt(previous)
        self._attempt += 1
        notes = self._notes.attempt(max(self._turn, 0), self._attempt, decided_ns)
        notes.fact(tracing.PROVISIONAL_NS, decided_ns)
        reply = Reply(self._agent, self._outbound, notes, self._question(event))
        self._begin(reply, self._run(reply))
        return reply

    def _begin(self, reply: Reply, work: Coroutine[None, None, None]) -> None:
        self._reprompt.withdraw()
        self.reply = reply
        task = asyncio.create_task(work)
        self._tasks[reply] = task
        task.add_done_callback(lambda _: self._finish(reply))

    async def _ask_to_repeat(self, unanswered: Reply) -> None:
        """Ask a caller whose turn had no words to say it again, as another attempt at that turn."""
        decided_ns = now_ns()
        self._attempt += 1
        notes = self._notes.attempt(unanswered.notes.turn, self._attempt, decided_ns)
        notes.fact(tracing.PROVISIONAL_NS, decided_ns)
        notes.fact(tracing.CONFIRMED_NS, decided_ns)
        reply = Reply(self._agent, self._outbound, notes, unanswered.question)
        self._begin(reply, reply.ask_to_repeat())

    async def confirm(self, event: EndpointEvent) -> None:
        """Confirm the end of the turn: its reply may be sent."""
        decided_ns = now_ns()
        reply = self.reply
        if reply is None or reply.confirmed or reply.failed_unheard:
            reply = await self.start_attempt(event)
        arrived_ns = self._inbound.arrivals.time_of_sample(event.speech_end_sample)
        first_chunk, arrivals_ns = self._inbound.arrivals.recent_times()
        reply.notes.stage(Stage.ENDPOINTING, arrived_ns or decided_ns, decided_ns)
        reply.notes.fact(tracing.CONFIRMED_NS, decided_ns)
        if event.confirmed_by is not None:
            reply.notes.fact(tracing.CONFIRMED_BY, str(event.confirmed_by))
        reply.notes.fact(tracing.ARRIVAL_FIRST_CHUNK, first_chunk)
        reply.notes.fact(tracing.ARRIVALS_NS, arrivals_ns)
        self._floor.set_uninterruptible(still_talking(event))
        reply.confirm()

    def withdraw(self) -> None:
        """Make the attempt void: the caller resumed before hearing any of it, and the turn continues."""
        self._reprompt.withdraw()
        if self.reply is not None:
            self._words_so_far.keep(self.reply.question.end_sample, self.reply.words)
            self._cancel(self.reply)
            self.reply = None

    def heard_of(self, reply: Reply) -> str:
        """Return the words of a reply that the caller has heard by now."""
        return heard_text(reply.clauses, len(reply.sent_payload) - self._outbound.unheard_samples)

    async def interrupt(self, reply: Reply) -> None:
        """Stop a reply that the caller spoke over, or that is too late; remember the words of it that were heard."""
        heard_samples = len(reply.sent_payload) - self._outbound.unheard_samples
        text = heard_text(reply.clauses, heard_samples)
        if reply.result is None:
            self._cancel(reply)
            if text and not reply.engine_failed:
                self._remember(reply, text, heard_samples)
        elif reply.result is TurnResult.REPLIED:
            self._conversation.cut_last(text, heard_samples)
            self._speech_context.start(self._conversation.context)
        await self._silence(reply, text)

    async def take_back(self, reply: Reply) -> None:
        """Stop a reply that began although the caller had only paused; the turn goes on with the caller's next words.

        Nothing of the reply is remembered: the whole turn gets another one, which may begin with the same words.
        """
        text = self.heard_of(reply)
        if reply.result is None:
            self._cancel(reply)
        elif reply.result is TurnResult.REPLIED:
            self._conversation.cut_last("", 0)
            self._speech_context.start(self._conversation.context)
        self._words_so_far.keep(reply.question.end_sample, reply.words)
        self._goes_on = True
        await self._silence(reply, text)

    async def _silence(self, reply: Reply, heard: str) -> None:
        if reply.sent_payload:
            reply.notes.fact(tracing.HEARD_TEXT, heard)
            await self._outbound.clear()
        self.reply = None

    async def watch_failures(self) -> None:
        """Raise a GivenUpError once too many turns in a row have failed."""
        await self._given_up.wait()
        raise GivenUpError(f"{self._failed} failed turns in a row (deadlines.failed_turns)")

    async def close(self) -> None:
        """Stop all work, and count it."""
        self._reprompt.withdraw()
        for reply in tuple(self._tasks):
            self._cancel(reply)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._read_ahead.close()
        await self._speech_context.close()
        await self._cancelled.wait(LAST_WORK_S)
        for notes in self._notes.attempts:
            self._agent.metrics.count_work(WorkUse.HEARD if notes.heard else WorkUse.WASTED, notes.meter.busy_ms)

    def _question(self, event: EndpointEvent) -> Question:
        profile = self._agent.profile
        rest_from, earlier_words = self._words_so_far.split(self._start_sample, event.at_sample)
        return Question(
            audio=self.audio(event),
            end_sample=event.at_sample,
            earlier_words=earlier_words,
            rest_from=rest_from - self._start_sample,
            call_block=self._call_block,
            history=self._conversation.history,
            context=self._conversation.context,
            max_tokens=profile.llm.max_tokens,
            speech_samples=event.speech_end_sample
            - event.speech_start_sample
            - samples(profile.endpointing.pre_roll_ms),
            last_chance=self._failed + 1 == profile.deadlines.failed_turns,
            script=self._script[min(max(self._turn, 0), len(self._script) - 1)] if self._script else None,
            preface=profile.barge_in.limit_preface if still_talking(event) else "",
            early_phrase=profile.llm.early_phrase,
            speculate=profile.endpointing.speculate,
        )

    def _cancel(self, reply: Reply) -> None:
        if (task := self._tasks.get(reply)) is not None:
            task.cancel()
            self._cancelled.add(task, reply.notes.meter)

    async def _run(self, reply: Reply) -> None:
        if self._cancelled:
            reply.end_wait(all_stopped=await self._cancelled.wait())
        try:
            await reply.run()
        except asyncio.CancelledError as cancelled:
            release_frames(cancelled)
            raise
        if reply.result is TurnResult.REPLIED:
            self._remember(reply, reply.text, len(reply.sent_payload))

    def _finish(self, reply: Reply) -> None:
        reply.conclude()
        del self._tasks[reply]
        assert reply.result is not None
        if reply.result is TurnResult.REPLIED:
            self._failed = 0
        elif reply.result is TurnResult.FAILED and reply.confirmed:
            self._failed += 1
            if self._failed == self._agent.profile.deadlines.failed_turns:
                self._given_up.set()
        elif reply.result is TurnResult.EMPTY and not reply.sent_payload and reply is self.reply:
            self._reprompt.start(reply, partial(self._ask_to_repeat, reply))
        self._agent.metrics.count_turn(reply.result, reply.notes.stages)
        speech_end_ns = reply.notes.start_of(Stage.ENDPOINTING)
        if reply.first_sent_ns and speech_end_ns is not None:
            self._agent.metrics.count_answer(reply.first_sent_ns - speech_end_ns)
        _transcripts.info(
            "%s: turn %d, %s: caller %r, agent %r",
            self._notes.call_sid,
            reply.notes.turn,
            reply.result,
            reply.words,
            reply.text,
        )

    def _remember(self, reply: Reply, text: str, heard_samples: int) -> None:
        audio = to_float(bytes(reply.sent_payload[: max(heard_samples, 0)]))
        self._conversation.add(
            ContextUtterance("caller", reply.words, reply.question.audio), ContextUtterance("agent", text, audio)
        )
        self._speech_context.start(self._conversation.context)
