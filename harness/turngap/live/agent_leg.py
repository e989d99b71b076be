"""The agent's leg of a live call: forwards Twilio's audio to a responder, and the responder's audio to Twilio."""

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
"""Sends a message to Twilio; the leg fills in `stream_sid`."""


class Responder(Protocol):
    """What answers the call on the agent's leg."""

    async def open(self, send: SendMessage, on_closed: Callable[[str], None]) -> None:
        """Start answering: the stream is open. Call `on_closed` with a reason if the responder ends the call.

        Raises:
            AgentError: the responder does not answer.
        """
        ...

    def receive(self, message: Inbound, frame: Frame | None, stream_start_ns: int | None) -> None:
        """Handle a message from Twilio.

        For audio, `frame` holds the samples and their position, `stream_start_ns` when the stream's first sample was.
        """
        ...

    async def close(self) -> None:
        """Stop answering: the stream has ended."""
        ...


@dataclass(frozen=True, slots=True)
class AgentTrace:
    """What was recorded on the agent's leg."""

    inbound: TimedAudio
    """Audio from Twilio: what the agent hears."""
    sent: tuple[Received, ...]
    """Messages that the agent sent to Twilio."""
    outbound: TimedAudio
    """The audio of `sent` as Twilio plays it."""
    marks: tuple[MarkSeen, ...]
    clears_ns: tuple[int, ...]
    jitter_ms: float | None
    error: str
    """Why the responder failed or hung up; "" if it did not."""


class AgentLeg:
    """The agent's leg of one call; `serve` runs its stream."""

    def __init__(self, responder: Responder, *, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock
        self._inbound = InboundAudio()
        self._playout = Playout()
        self._stream: MediaStream | None = None
        self._stream_sid = ""
        self._error = ""
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when the stream has ended or the responder has hung up."""

    async def serve(self, stream: MediaStream) -> None:
        """Read the stream until it ends."""
        self._stream = stream
        try:
            async for message, arrival_ns in stream.messages():
                if isinstance(message, Start):
                    self._stream_sid = message.stream_sid
                    await self._open()
                elif self.opened.is_set():
                    self._receive(message, arrival_ns)
                if isinstance(message, Stop):
                    break
        finally:
            self.ended.set()
            await self._responder.close()

    def hang_up(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()

    def trace(self, until_ns: int) -> AgentTrace:
        """Return what was recorded until `until_ns`, and stop recording."""
        self._playout.truncate(until_ns)
        sent = self._playout.received
        return AgentTrace(
            inbound=self._inbound.audio(),
            sent=sent,
            outbound=render_playout(sent),
            marks=self._playout.marks,
            clears_ns=self._playout.clears_ns,
            jitter_ms=self._inbound.jitter_ms(),
            error=self._error,
        )

    async def _open(self) -> None:
        try:
            await self._responder.open(self._send, self._on_responder_closed)
        except AgentError as error:
            self._on_responder_closed(str(error))
            self.hang_up()
            return
        self.opened.set()

    def _receive(self, message: Inbound, arrival_ns: int) -> None:
        if isinstance(message, InboundMedia):
            frame = self._inbound.add(message, arrival_ns)
            self._responder.receive(message, frame, self._inbound.start_ns)
            return
        if isinstance(message, InboundMark):
            self._playout.echo_marks(arrival_ns, arrival_ns)
        self._responder.receive(message, None, None)

    def _send(self, message: Outbound) -> None:
        assert self._stream is not None
        self._stream.send(
            replace(message, stream_sid=self._stream_sid).to_json(), lambda at_ns: self._record_sent(message, at_ns)
        )

    def _record_sent(self, message: Outbound, sent_ns: int) -> None:
        if isinstance(message, OutboundMedia):
            self._playout.receive(mulaw.decode(message.payload), sent_ns)
        elif isinstance(message, OutboundMark):
            self._playout.add_mark(message.name, sent_ns)
        else:
            self._playout.clear(sent_ns)

    def _on_responder_closed(self, reason: str) -> None:
        self._error = self._error or reason
        self.ended.set()
