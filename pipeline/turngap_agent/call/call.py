"""One call: hears the caller, decides whose turn it is, and answers.

A turn's life: speech starts → its end is decided provisionally (an attempt begins, its audio is held) → the end is
confirmed (the audio may go) or the caller went on (the attempt is thrown away, the turn goes on with the next one).
Speech while nothing of the attempt has been sent prolongs the same turn, so that no words are lost. Speech over the
agent silences it at once; what it was is decided then (`interruption`): after a backchannel the agent goes on where it
was, for a barge-in language model and synthesiser are stopped and the memory cut to what was heard.

One attempt is at work at a time: a new one waits until the engines have let go of those that were cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from turngap_agent import tracing
from turngap_agent.call import conversation
from turngap_agent.call.agent import Agent
from turngap_agent.call.ahead import ReadingAhead
from turngap_agent.call.asking import Asking
from turngap_agent.call.floor import Floor, still_talking
from turngap_agent.call.hearing import Arrivals, CallerAudio, Continuity, to_float
from turngap_agent.call.interruption import Move
from turngap_agent.call.leaving import Leaving
from turngap_agent.call.line import Line
from turngap_agent.call.reply import Question, Reply
from turngap_agent.call.rolling import WordsSoFar
from turngap_agent.clock import now_ns
from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import endpointer
from turngap_agent.inject import DelayLine
from turngap_agent.stt import AudioF32
from turngap_agent.telemetry.metrics import TurnResult, WorkUse
from turngap_agent.telemetry.recorder import CallNotes
from turngap_agent.telephony import SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import InboundMedia
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage
from turngap_agent.tts import Spoken

LAST_WORK_S = 0.5
"""How long the end of a call waits for engines to let go, so that their work is counted."""
_log = logging.getLogger("turngap.call")


class Call:
    """One call between its `start` and its end: feed it with `hear` and `echoed` while `run` is going, then `close`."""

    def __init__(self, agent: Agent, line: Line, call_sid: str, script: Sequence[TurnScript] = ()) -> None:
        """`script` has what each turn says, in order, where weights are random; the last one goes for all after it."""
        self._agent, self._line = agent, line
        self._script = tuple(script)
        self._notes = CallNotes(call_sid, now_ns(), agent.exporter if agent.live_spans else None)
        self._conversation = conversation.Conversation()
        self._block = conversation.call_block()
        self._detector = agent.engines.vad.detector()
        self._endpointer = endpointer(agent.profile.endpointing)
        self._floor = Floor(agent.profile, line)
        self._deciding = asyncio.Lock()
        self._decisions: DelayLine[EndpointEvent | Move] = DelayLine(
            agent.injection.delay_ns(Stage.ENDPOINTING), self._notice
        )
        self._audio = CallerAudio(2 * self._longest_turn)
        self._arrivals = Arrivals()
        self._continuity = Continuity()
        self._more = asyncio.Event()
        self._turn, self._attempt = -1, 0
        self._turn_start = 0
        self._reply: Reply | None = None
        self._tasks: dict[Reply, asyncio.Task[None]] = {}
        self._leaving = Leaving()
        self._ahead = ReadingAhead(agent.engines.llm, self._block, call_sid)
        self._so_far = WordsSoFar(agent.profile.stt.whole_s)
        self._asking = Asking(self._said_so_far, self._sounds_complete, call_sid)

    def hear(self, media: InboundMedia, arrived_ns: int) -> None:
        """Take a piece of the caller's audio, read from the socket at `arrived_ns`."""
        missing = self._continuity.missing_samples(media)
        if missing is None:
            return
        self._audio.add(mulaw.SILENCE * missing + media.payload)
        self._arrivals.add(media.chunk, self._audio.end, arrived_ns)
        self._more.set()

    def echoed(self, name: str) -> bool:
        """A mark came back; False when it was not waited for."""
        return self._line.echoed(name)

    async def run(self) -> None:
        """Listen and answer until cancelled.

        Raises:
            EngineError: the detector failed; without it there is no call.
        """
        lines: list[DelayLine[Any]] = [line for line in (self._decisions, self._line.delayed) if line.needs_task]
        model = self._agent.engines.turn
        asking = [] if model is None else [self._asking.run(model)]
        await _together(self._listen(), *asking, *(line.run() for line in lines))

    async def close(self) -> None:
        """End the call: stop all work, and hand the spans over."""
        for reply in tuple(self._tasks):
            self._cancel(reply)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._ahead.close()
        await self._leaving.gone(LAST_WORK_S)
        for notes in self._notes.attempts:
            self._agent.metrics.work(WorkUse.HEARD if notes.heard else WorkUse.WASTED, notes.meter.busy_ms)
        if self._agent.exporter is not None:
            self._agent.exporter.put(self._notes.traces(now_ns()))
        _log.info("%s: ended, %d turns", self._notes.call_sid, self._turn + 1)

    async def _listen(self) -> None:
        fed = 0
        while True:
            await self._more.wait()
            self._more.clear()
            # All that has come since, so that a detector that was held up catches up at once.
            pcm, fed = mulaw.decode(self._audio.codes(fed, self._audio.end)), self._audio.end
            for voicing in await self._detector.push(pcm):
                await self._follow(partial(self._judge, voicing))

    async def _follow(self, decide: Callable[[], Sequence[EndpointEvent | Move]]) -> None:
        """Act on what is decided; in order, whether the detector or the turn model brought it about."""
        async with self._deciding:
            for item in decide():
                await self._decisions.put(item)

    def _judge(self, voicing: Voicing) -> Sequence[EndpointEvent | Move]:
        arrived_ns = self._arrivals.of_sample(voicing.end_sample) or now_ns()
        voicing, move = self._floor.push(voicing, arrived_ns, self._reply)
        events = self._endpointer.push(voicing)
        return events if move is None else [move, *events]

    async def _notice(self, item: EndpointEvent | Move) -> None:
        events = await self._share(item) if isinstance(item, Move) else self._floor.passed(item, self._reply)
        for event in events:
            await self._decide(event)

    async def _share(self, move: Move) -> list[EndpointEvent]:
        """Do what the caller's voice over the agent asks for; the events that count now."""
        reply = self._reply
        match move:
            case Move.PAUSE:
                await self._floor.pause(reply)
            case Move.GO_ON:
                await self._floor.go_on(reply)
            case Move.GIVE_WAY if reply is not None:
                heard = await self._interrupt(reply)
                events = self._floor.give_way()
                going_on = not heard and self._floor.spoke_first(reply)
                # The agent's first sound met a caller who went on: so does the turn, with all its words.
                return events[1:] if events and going_on and self._may_go_on(events[0]) else events
            case Move.GIVE_WAY:
                await self._line.clear()
                return self._floor.give_way()
            case Move.GIVE_BACK:
                return self._floor.give_way()
        return []

    async def _decide(self, event: EndpointEvent) -> None:
        match event.kind:
            case EventKind.SPEECH_STARTED:
                await self._speech_started(event)
            case EventKind.COMPLETION_ASKED:
                self._asking.ask(event)
            case EventKind.PROVISIONAL_END:
                await self._begin(event)
            case EventKind.CONFIRMED_END:
                await self._confirm(event)
            case EventKind.RESUMED:
                self._asking.withdraw()
                self._withdraw()

    def _said_so_far(self, event: EndpointEvent) -> AudioF32:
        return to_float(self._audio.codes(self._turn_start, event.at_sample))

    async def _sounds_complete(self, event: EndpointEvent, probability: float) -> None:
        await self._follow(partial(self._endpointer.completion, event.at_sample, probability))

    async def _speech_started(self, event: EndpointEvent) -> None:
        reply = self._reply
        unheard = reply is not None and reply.result is None and not reply.sent_payload
        if unheard and self._may_go_on(event):
            self._withdraw()
            return
        if unheard and reply is not None and reply.confirmed:
            # No turn may be longer: its answer, which is being made, is said before the caller counts again.
            self._floor.insist(True)
            self._floor.passed(event, reply)
            return
        self._turn, self._attempt, self._turn_start = self._turn + 1, 0, event.speech_start_sample
        self._so_far.forget()
        self._ahead.begin(self._conversation.history)

    async def _begin(self, event: EndpointEvent) -> None:
        decided_ns = now_ns()
        late = self._reply
        if late is not None and (late.result is None or self._floor.over(late)):
            await self._interrupt(late)
        self._attempt += 1
        rest_from, earlier_words = self._so_far.rest(self._turn_start, event.at_sample)
        question = Question(
            audio=self._said_so_far(event),
            end_sample=event.at_sample,
            earlier_words=earlier_words,
            rest_from=rest_from - self._turn_start,
            call_block=self._block,
            history=self._conversation.history,
            context=self._conversation.context,
            max_tokens=self._agent.profile.llm.max_tokens,
            apology=self._agent.profile.llm.apology,
            script=self._script[min(max(self._turn, 0), len(self._script) - 1)] if self._script else None,
            preface=self._agent.profile.barge_in.limit_preface if still_talking(event) else "",
            speculate=self._agent.profile.endpointing.speculate,
        )
        notes = self._notes.attempt(max(self._turn, 0), self._attempt, decided_ns)
        notes.fact(tracing.PROVISIONAL_NS, decided_ns)
        reply = Reply(self._agent.engines, self._agent.injection, self._line, notes, question)
        self._reply = reply
        task = asyncio.create_task(self._answer(reply))
        self._tasks[reply] = task
        task.add_done_callback(lambda _: self._ended(reply))

    async def _confirm(self, event: EndpointEvent) -> None:
        decided_ns = now_ns()
        if self._reply is None or self._reply.confirmed or self._reply.came_to_nothing:
            await self._begin(event)
        reply = self._reply
        assert reply is not None
        arrived_ns = self._arrivals.of_sample(event.speech_end_sample)
        first_chunk, arrivals_ns = self._arrivals.unbroken()
        reply.notes.stage(Stage.ENDPOINTING, arrived_ns or decided_ns, decided_ns)
        reply.notes.fact(tracing.CONFIRMED_NS, decided_ns)
        if event.confirmed_by is not None:
            reply.notes.fact(tracing.CONFIRMED_BY, str(event.confirmed_by))
        reply.notes.fact(tracing.ARRIVAL_FIRST_CHUNK, first_chunk)
        reply.notes.fact(tracing.ARRIVALS_NS, arrivals_ns)
        self._floor.insist(still_talking(event))
        reply.confirm()

    def _withdraw(self) -> None:
        """The caller went on before anything was heard: the turn goes on, its attempt is void."""
        if self._reply is not None:
            self._so_far.keep(self._reply.question.end_sample, self._reply.words)
            self._cancel(self._reply)
            self._reply = None

    async def _interrupt(self, reply: Reply) -> str:
        """The caller speaks over the agent, or has been left waiting for a reply that now comes too late.

        Gives the words of it that were heard.
        """
        heard = len(reply.sent_payload) - self._line.unheard
        text = conversation.heard_text(reply.clauses, heard)
        if reply.result is None:
            self._cancel(reply)
            if text and not reply.lost:
                self._remember(reply, text, heard)
        elif reply.result is TurnResult.REPLIED:
            self._conversation.cut_last(text, heard)
        if reply.sent_payload:
            reply.notes.fact(tracing.HEARD_TEXT, text)
            await self._line.clear()
        self._reply = None
        return text

    def _cancel(self, reply: Reply) -> None:
        if (task := self._tasks.get(reply)) is not None:
            task.cancel()
            self._leaving.add(task, reply.notes.meter)

    async def _answer(self, reply: Reply) -> None:
        if self._leaving:
            reply.waited(all_stopped=await self._leaving.gone())
        await reply.run()
        if reply.result is TurnResult.REPLIED:
            self._remember(reply, reply.text, len(reply.sent_payload))

    def _ended(self, reply: Reply) -> None:
        reply.conclude()
        del self._tasks[reply]
        assert reply.result is not None
        self._agent.metrics.turn(reply.result, reply.notes.stages)

    def _remember(self, reply: Reply, text: str, heard: int) -> None:
        said = to_float(bytes(reply.sent_payload[: max(heard, 0)]))
        self._conversation.add(Spoken("caller", reply.words, reply.question.audio), Spoken("agent", text, said))

    def _may_go_on(self, event: EndpointEvent) -> bool:
        return event.at_sample - self._turn_start <= self._longest_turn

    @property
    def _longest_turn(self) -> int:
        return self._agent.profile.endpointing.max_turn_ms * SAMPLE_RATE // 1000


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Run until one fails; that failure is raised alone, not in a group."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
