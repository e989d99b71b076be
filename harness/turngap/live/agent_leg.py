"""The agent's leg of a live call: what Twilio brings goes to an answerer, what the answerer says goes to Twilio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from turngap_agent.errors import AgentError
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import (
    Inbound,
    InboundMark,
    InboundMedia,
    Outbound,
    OutboundMark,
    OutboundMedia,
    Start,
    Stop,
)

from turngap.caller.playout import Playout
from turngap.clock import Clock
from turngap.live.leg_audio import Frame, InboundAudio, TimedAudio, render_playout
from turngap.live.media_stream import MediaStream
from turngap.model.records import MarkSeen, Received

SendMessage = Callable[[Outbound], None]
"""Takes a message for Twilio; its `stream_sid` is put right."""


class Responder(Protocol):
    """Who answers on the agent's leg."""

    async def open(self, say: SendMessage, on_closed: Callable[[str], None]) -> None:
        """The stream has started; `on_closed` is told if the answerer ends it.

        Raises:
            AgentError: it does not answer.
        """
        ...

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """A message from Twilio; with its frame's place in the stream and the line time of the stream's start."""
        ...

    async def close(self) -> None:
        """The stream has ended."""
        ...


@dataclass(frozen=True, slots=True)
class AgentTrace:
    """What the agent's leg saw."""

    heard: TimedAudio
    frames: int
    said: tuple[Received, ...]
    spoken: TimedAudio
    """The same, on one line."""
    marks: tuple[MarkSeen, ...]
    clears_ns: tuple[int, ...]
    jitter_ms: float | None
    fault: str


class AgentLeg:
    """One call's agent leg; `serve` runs its stream."""

    def __init__(self, responder: Responder, *, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock
        self._track = InboundAudio()
        self._playout = Playout()
        self._wire: MediaStream | None = None
        self._stream_sid = ""
        self._fault = ""
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when its stream is over, or the agent behind it has gone."""

    async def serve(self, wire: MediaStream) -> None:
        """Read the stream until it ends."""
        self._wire = wire
        try:
            async for message, arrival_ns in wire.messages():
                if isinstance(message, Start):
                    self._stream_sid = message.stream_sid
                    await self._open()
                elif self.opened.is_set():
                    self._hear(message, arrival_ns)
                if isinstance(message, Stop):
                    break
        finally:
            self.ended.set()
            await self._responder.close()

    def hang_up(self) -> None:
        """Close the stream."""
        if self._wire is not None:
            self._wire.close()

    def trace(self, until_ns: int) -> AgentTrace:
        """What was seen until then."""
        self._playout.stop(until_ns)
        line = self._track.line()
        said = self._playout.received
        return AgentTrace(
            heard=line,
            frames=-(-len(line.pcm) // 160),
            said=said,
            spoken=render_playout(said),
            marks=self._playout.marks,
            clears_ns=self._playout.clears_ns,
            jitter_ms=self._track.jitter_ms(),
            fault=self._fault,
        )

    async def _open(self) -> None:
        try:
            await self._responder.open(self._say, self._gone)
        except AgentError as fault:
            self._gone(str(fault))
            self.hang_up()
            return
        self.opened.set()

    def _hear(self, message: Inbound, arrival_ns: int) -> None:
        if isinstance(message, InboundMedia):
            frame = self._track.add(message, arrival_ns)
            self._responder.hear(message, frame, self._track.start_ns)
            return
        if isinstance(message, InboundMark):
            self._playout.echo(arrival_ns, arrival_ns)
        self._responder.hear(message, None, None)

    def _say(self, message: Outbound) -> None:
        assert self._wire is not None
        self._wire.send(
            replace(message, stream_sid=self._stream_sid).to_json(), lambda at_ns: self._note(message, at_ns)
        )

    def _note(self, message: Outbound, sent_ns: int) -> None:
        if isinstance(message, OutboundMedia):
            self._playout.receive(mulaw.decode(message.payload), sent_ns)
        elif isinstance(message, OutboundMark):
            self._playout.mark(message.name, sent_ns)
        else:
            self._playout.clear(sent_ns)

    def _gone(self, reason: str) -> None:
        self._fault = self._fault or reason
        self.ended.set()
