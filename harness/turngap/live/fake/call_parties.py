"""The parties of a fake call: a media stream to the customer's server, or a telephone with a responder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_MS, FRAME_NS, FRAME_SAMPLES, mulaw, signature
from turngap_agent.telephony.messages import InboundMedia, Outbound, OutboundMark, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.caller_stream import CallerStream
from turngap.caller.connection import Message, open_connection
from turngap.caller.long_message import LongMessage
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.caller.traffic import Refused
from turngap.clock import NS_PER_SAMPLE, Clock
from turngap.live.agent_leg import Responder
from turngap.live.leg_audio import Frame
from turngap.model.records import Pcm16


class CallParty(Protocol):
    """One party of a call."""

    def frame(self, from_ns: int) -> Pcm16:
        """Return this party's audio of the 20 ms from `from_ns` on; shape (160,)."""
        ...

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """Take a frame of the other party's audio, numbered from the start of the call."""
        ...

    async def stop(self, *, broken: bool = False) -> None:
        """End the call; `broken`: break the connection without a `stop` message."""
        ...


class OutgoingAudio:
    """The audio that a party sends, played from a buffer and cut into frames."""

    def __init__(self) -> None:
        self.playout = Playout()
        self._first = 0

    def frame(self, from_ns: int) -> Pcm16:
        """Return the 20 ms from `from_ns` on, to the sample as the buffer plays them; call it in the order of time."""
        pcm = np.zeros(FRAME_SAMPLES, np.int16)
        messages = self.playout.received_since(self._first)
        for message in messages:
            at = round((message.play_ns - from_ns) / NS_PER_SAMPLE)
            first, end = max(0, at), min(FRAME_SAMPLES, at + message.played_samples)
            if end > first:
                pcm[first:end] = message.pcm[first - at : end - at]
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
        self._stream: CallerStream | None = None
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
            AgentError: it can't be opened; its `code` ends with Twilio's.
        """
        connection = await open_connection(
            url,
            {signature.HEADER: signature.sign(token, url)},
            clock=self._clock,
            on_message=self._on_message,
            on_closed=lambda reason, at_ns: on_closed(reason),
        )
        self._stream = CallerStream.twilio(
            connection,
            stream_sid=self.stream_sid,
            call_sid=call_sid,
            account_sid=account_sid,
            first_timestamp_ms=100 + secrets.randbelow(71),
        )
        self._stream.send_start(parameters)

    def frame(self, from_ns: int) -> Pcm16:
        """See `CallParty`."""
        return self._voice.frame(from_ns)

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """See `CallParty`."""
        if self._stream is None:
            return
        self._stream.send_media(frame, mulaw.encode(pcm))
        if self._stream.is_unread:
            self._warn(31930, "the server does not read")

    async def stop(self, *, broken: bool = False) -> None:
        """See `CallParty`."""
        if self._stream is not None and broken:
            self._stream.connection.drop()
        elif self._stream is not None:
            self._stream.send_stop()
            await self._stream.connection.close()

    def _on_message(self, message: Message, recv_ns: int) -> None:
        if isinstance(message, Refused | LongMessage):
            self._warn(31951, message.reason if isinstance(message, Refused) else "a message of over 1 MiB")
            return
        if isinstance(message, bytes):
            self._warn(31950, "a binary frame")
            return
        try:
            parsed = parse_outbound(message)
        except ProtocolError as error:
            self._warn(31951, str(error))
            return
        playout = self._voice.playout
        if parsed.stream_sid != self.stream_sid:
            self._warn(31951, "a message for another stream")
        elif isinstance(parsed, OutboundMedia):
            if not playout.receive(mulaw.decode(parsed.payload), recv_ns):
                self._warn(31931, "more than 10 minutes buffered")
        elif isinstance(parsed, OutboundMark):
            self._scheduler.call_at(playout.add_mark(parsed.name, recv_ns), self._return_marks)
        else:
            playout.clear(recv_ns)
            self._return_marks(None)

    def _return_marks(self, due_ns: int | None) -> None:
        assert self._stream is not None
        for name in self._voice.playout.echo_marks(self._clock.now_ns(), due_ns):
            self._stream.send_mark(name)


class TelephoneParty:
    """A telephone at another number: a responder on the line, without a server in between."""

    def __init__(self, responder: Responder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock
        self._voice = OutgoingAudio()
        self._start_ns: int | None = None

    async def pick_up(self) -> None:
        """Answer the call."""
        await self._responder.open(self._send, lambda reason: None)

    def frame(self, from_ns: int) -> Pcm16:
        """See `CallParty`."""
        return self._voice.frame(from_ns)

    def deliver(self, frame: int, pcm: Pcm16) -> None:
        """See `CallParty`."""
        now_ns = self._clock.now_ns()
        start_ns = now_ns - (frame + 1) * FRAME_NS
        self._start_ns = start_ns if self._start_ns is None else min(self._start_ns, start_ns)
        message = InboundMedia("", frame + 2, frame + 1, frame * FRAME_MS, mulaw.encode(pcm))
        received = mulaw.decode(message.payload)
        self._responder.receive(message, Frame(now_ns, frame * FRAME_SAMPLES, received), self._start_ns)

    async def stop(self, *, broken: bool = False) -> None:
        """See `CallParty`."""
        await self._responder.close()

    def _send(self, message: Outbound) -> None:
        if isinstance(message, OutboundMedia):
            self._voice.playout.receive(mulaw.decode(message.payload), self._clock.now_ns())
