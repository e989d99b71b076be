"""The two ends of a fake call: a media stream to somebody's server, or a telephone that somebody answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, FRAME_NS, FRAME_SAMPLES, mulaw, signature
from turngap_agent.telephony.messages import InboundMedia, Outbound, OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.connection import open_connection
from turngap.caller.media_stream import Stream
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_SAMPLE, Clock
from turngap.live.agent_leg import Responder
from turngap.live.leg_audio import Frame
from turngap.model.records import Pcm16


class CallParty(Protocol):
    """One end of a call."""

    def frame(self, from_ns: int) -> Pcm16:
        """What it says in the 20 ms from then on; shape (160,)."""
        ...

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """A frame of what the other end says arrives; counted from the call's first."""
        ...

    async def stop(self, *, broken: bool = False) -> None:
        """The call is over; `broken`: the connection is, and nothing more is said, not even that."""
        ...


class OutgoingAudio:
    """What one end gave to be played, cut into frames of the line."""

    def __init__(self) -> None:
        self.playout = Playout()
        self._first = 0

    def frame(self, from_ns: int) -> Pcm16:
        """The 20 ms from then on, sample by sample as the buffer plays them; ask in the order of time."""
        pcm = np.zeros(FRAME_SAMPLES, np.int16)
        messages = self.playout.received_since(self._first)
        for message in messages:
            at = round((message.play_ns - from_ns) / NS_PER_SAMPLE)
            first, beyond = max(0, at), min(FRAME_SAMPLES, at + message.played_samples)
            if beyond > first:
                pcm[first:beyond] = message.pcm[first - at : beyond - at]
        while messages and messages[0].play_ns + messages[0].played_samples * NS_PER_SAMPLE < from_ns:
            messages.pop(0)
            self._first += 1
        return pcm


class StreamParty:
    """A `<Connect><Stream>`: Twilio's side of the WebSocket."""

    def __init__(self, clock: Clock, scheduler: Scheduler, warn: Callable[[int, str], None]) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._warn = warn
        self._voice = OutgoingAudio()
        self._stream: Stream | None = None
        self.stream_sid = "MZ" + secrets.token_hex(16)

    async def open(
        self,
        url: str,
        parameters: Mapping[str, str],
        *,
        token: str,
        account_sid: str,
        call_sid: str,
        on_closed: Callable[[str], None],
    ) -> None:
        """Open the stream, signed as Twilio signs it.

        Raises:
            AgentError: it can't be; the message begins with Twilio's code.
        """
        connection = await open_connection(
            url,
            {signature.HEADER: signature.sign(token, url)},
            clock=self._clock,
            on_message=self._on_message,
            on_closed=lambda reason, at_ns: on_closed(reason),
        )
        self._stream = Stream(
            connection,
            stream_sid=self.stream_sid,
            call_sid=call_sid,
            account_sid=account_sid,
            first_timestamp_ms=100 + secrets.randbelow(71),
        )
        self._stream.start(parameters)

    def frame(self, from_ns: int) -> Pcm16:
        """As `End`."""
        return self._voice.frame(from_ns)

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """As `End`."""
        if self._stream is None:
            return
        self._stream.media(frame, mulaw.encode(pcm))
        if self._stream.unread:
            self._warn(31930, "the server does not read")

    async def stop(self, *, broken: bool = False) -> None:
        """As `End`."""
        if self._stream is not None and broken:
            self._stream.connection.drop()
        elif self._stream is not None:
            self._stream.stop()
            await self._stream.connection.close()

    def _on_message(self, message: str | bytes, recv_ns: int) -> None:
        if isinstance(message, bytes):
            self._warn(31950, "a binary frame")
            return
        try:
            parsed = parse_outbound(message)
        except ProtocolError as fault:
            self._warn(31951, str(fault))
            return
        playout = self._voice.playout
        if parsed.stream_sid != self.stream_sid:
            self._warn(31951, "a message for another stream")
        elif isinstance(parsed, OutboundMedia):
            if not playout.receive(mulaw.decode(parsed.payload), recv_ns):
                self._warn(31931, "more than 10 minutes buffered")
        elif isinstance(parsed, OutboundMark):
            self._scheduler.at(playout.mark(parsed.name, recv_ns), self._echo)
        else:
            playout.clear(recv_ns)
            self._echo(None)

    def _echo(self, due_ns: int | None) -> None:
        assert self._stream is not None
        for name in self._voice.playout.echo(self._clock.now_ns(), due_ns):
            self._stream.mark(name)


class TelephoneParty:
    """Somebody else's number: an answerer who hears the line without any server between."""

    def __init__(self, responder: Responder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock
        self._voice = OutgoingAudio()
        self._start_ns: int | None = None

    async def pick_up(self) -> None:
        """Answer."""
        await self._responder.open(self._say, lambda reason: None)

    def frame(self, from_ns: int) -> Pcm16:
        """As `End`."""
        return self._voice.frame(from_ns)

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """As `End`."""
        now_ns = self._clock.now_ns()
        start_ns = now_ns - (frame + 1) * FRAME_NS
        self._start_ns = start_ns if self._start_ns is None else min(self._start_ns, start_ns)
        message = InboundMedia("", frame + 2, frame + 1, frame * FRAME_MS, mulaw.encode(pcm))
        heard = mulaw.decode(message.payload)
        self._responder.hear(message, Frame(now_ns, frame * FRAME_SAMPLES, heard), self._start_ns)

    async def stop(self, *, broken: bool = False) -> None:
        """As `End`."""
        await self._responder.close()

    def _say(self, message: Outbound) -> None:
        if isinstance(message, OutboundMedia):
            self._voice.playout.receive(mulaw.decode(message.payload), self._clock.now_ns())
