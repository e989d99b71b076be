"""One call: hears the caller, decides whose turn it is, and has the turns answered (`turns`).

Speech over the agent silences it at once; what it was is decided then (`interruption`): after a backchannel the agent
resumes where it was, to a barge-in it yields, and a caller who had only paused has the whole turn answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from turngap_agent.call import Agent
from turngap_agent.call.background import CompletionQueries, run_until_failure
from turngap_agent.call.floor import Floor
from turngap_agent.call.hearing import Hearing
from turngap_agent.call.inbound import InboundAudio
from turngap_agent.call.interruption import Move
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.turns import Turns, longest_turn_samples
from turngap_agent.clock import now_ns
from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.inject import DelayLine
from turngap_agent.telemetry.recorder import CallNotes
from turngap_agent.telephony import FRAME_NS
from turngap_agent.telephony.messages import InboundMedia
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage

_log = logging.getLogger("turngap.call")


class Call:
    """One call from its `start` to its end: feed it with `hear` and `take_echo` while `run` runs, then `close` it."""

    def __init__(self, agent: Agent, outbound: OutboundAudio, call_sid: str, script: Sequence[TurnScript] = ()) -> None:
        """`script`: what each turn says, in order, if weights are random; the last one serves all later turns."""
        self._agent, self._outbound = agent, outbound
        self._notes = CallNotes(
            call_sid, now_ns(), live=agent.exporter if agent.live_spans else None, clauses=agent.exporter
        )
        self._inbound = InboundAudio(2 * longest_turn_samples(agent))
        self._hearing = Hearing(agent, self._inbound.audio.codes, call_sid)
        self._endpointer = make_endpointer(agent.profile.endpointing)
        self._floor = Floor(agent.profile, outbound)
        self._turns = Turns(agent, self._inbound, outbound, self._floor, self._notes, script)
        self._queries = CompletionQueries(self._turns.audio, self._turns.pause, self._take_completion, agent, call_sid)
        self._deciding = asyncio.Lock()
        self._decisions: DelayLine[EndpointEvent | Move] = DelayLine(
            agent.injection.delay_ns(Stage.ENDPOINTING), self._act
        )
        self._audio_added = asyncio.Event()

    def hear(self, media: InboundMedia, arrived_ns: int) -> None:
        """Take a piece of the caller's audio, read from the socket at `arrived_ns`."""
        if self._inbound.add(media, arrived_ns):
            self._audio_added.set()

    def take_echo(self, name: str) -> bool:
        """Note that a mark came back; return False if none of that name was sent."""
        return self._outbound.take_echo(name)

    async def run(self) -> None:
        """Listen and answer until cancelled.

        Raises:
            GivenUpError: too many turns in a row have failed.
        """
        lines: list[DelayLine[Any]] = [self._decisions, self._outbound.delay_line]
        work: list[Callable[[], Awaitable[None]]] = [line.run for line in lines if line.needs_task]
        await run_until_failure(self._listen, self._keep_time, self._turns.watch_failures, self._queries.run, *work)

    async def close(self) -> None:
        """End the call: stop all work, and hand the spans over."""
        await self._turns.close()
        if self._agent.exporter is not None:
            self._agent.exporter.put(self._notes.traces(now_ns()))
        _log.info("%s: ended, %d turns", self._notes.call_sid, self._turns.count)
        # They call back. Without them the call and its audio, 100 KiB a turn, are freed now; the garbage collector
        # would come to them some hundred calls later.
        del self._queries, self._decisions

    async def _listen(self) -> None:
        while True:
            await self._audio_added.wait()
            self._audio_added.clear()
            # All audio since the last time, so that a detector that was held up catches up at once.
            for voicing in await self._hearing.judge(self._inbound.audio.end):
                await self._decide(partial(self._judge, voicing))

    async def _keep_time(self) -> None:
        """Notice silence by the clock on a line that sends no frames while its caller is silent."""
        while True:
            due_ns = now_ns() + FRAME_NS
            await asyncio.sleep(FRAME_NS / 1e9)
            # Woken late, frames may be waiting in the socket: they are read first.
            if now_ns() - due_ns < FRAME_NS and self._inbound.fill(now_ns()):
                self._audio_added.set()

    async def _decide(self, judge: Callable[[], Sequence[EndpointEvent | Move]]) -> None:
        """Queue what `judge` decides; in order, whether the detector or the turn model caused it."""
        async with self._deciding:
            for item in judge():
                await self._decisions.put(item)

    def _judge(self, voicing: Voicing) -> Sequence[EndpointEvent | Move]:
        arrived_ns = self._inbound.arrivals.time_of_sample(voicing.end_sample) or now_ns()
        voicing, move = self._floor.push(voicing, arrived_ns, self._turns.reply)
        events = self._endpointer.push(voicing)
        return events if move is None else [move, *events]

    async def _take_completion(self, event: EndpointEvent, probability: float) -> None:
        await self._decide(partial(self._endpointer.completion, event.at_sample, probability))

    async def _act(self, item: EndpointEvent | Move) -> None:
        events = await self._move(item) if isinstance(item, Move) else self._floor.admit(item, self._turns.reply)
        for event in events:
            await self._handle(event)

    async def _move(self, move: Move) -> list[EndpointEvent]:
        """Carry out a move of the floor; return the events that count now."""
        reply = self._turns.reply
        match move:
            case Move.PAUSE:
                await self._floor.pause(reply)
            case Move.RESUME:
                await self._floor.resume(reply)
            case Move.YIELD if reply is not None:
                # If no word was heard nothing was answered yet: as a turn of its own the question would be lost.
                if self._floor.is_going_on(reply) or not self._turns.heard_of(reply):
                    await self._turns.take_back(reply)
                else:
                    await self._turns.interrupt(reply)
                return self._floor.release()
            case Move.YIELD:
                await self._outbound.clear()
                return self._floor.release()
            case Move.LISTEN:
                return self._floor.release()
        return []

    async def _handle(self, event: EndpointEvent) -> None:
        match event.kind:
            case EventKind.SPEECH_STARTED:
                self._turns.start_speech(event)
            case EventKind.COMPLETION_ASKED:
                self._queries.submit(event)
            case EventKind.PROVISIONAL_END:
                await self._turns.start_attempt(event)
            case EventKind.CONFIRMED_END:
                await self._turns.confirm(event)
            case EventKind.RESUMED:
                self._queries.withdraw()
                self._turns.withdraw()
