"""What can answer on the agent's leg: an echo, a responder with a fixed delay, and a proxy to an agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_SAMPLES, mulaw
from turngap_agent.telephony.messages import Connected, Inbound, InboundMedia, OutboundMark, OutboundMedia, Start, Stop
from turngap_agent.telephony.parsing import parse_outbound

from turngap.calibration.utterances import make_burst
from turngap.caller.connection import Connection, Message, open_connection
from turngap.caller.long_message import LongMessage
from turngap.caller.scheduler import Scheduler
from turngap.caller.traffic import Refused
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, Clock
from turngap.live.agent_leg import SendMessage
from turngap.live.leg_audio import SAMPLES_PER_MS, Frame

MIN_DELAY_MS = 80.0
REPLY_MS = 400.0
SPEECH_LEVEL = 500
"""A sample over this (-36 dBFS) counts as speech: comfort noise at -60 dBFS stays below it."""
MIN_QUIET_MS, MAX_QUIET_MS = 40.0, 300.0
"""The decision is made this long before the reply is due; it needs no longer silence than the maximum."""


class EchoResponder:
    """Sends each frame back as soon as it arrives."""

    def __init__(self) -> None:
        self._send: SendMessage | None = None

    async def open(self, send: SendMessage, on_closed: Callable[[str], None]) -> None:
        """See `Responder`."""
        self._send = send

    def receive(self, message: Inbound, frame: Frame | None, stream_start_ns: int | None) -> None:
        """Send a frame back."""
        if isinstance(message, InboundMedia) and self._send is not None:
            self._send(OutboundMedia("", message.payload))

    async def close(self) -> None:
        """Do nothing: an echo holds no resources."""


class FixedDelayResponder:
    """Replies with a burst of noise `delay_ms` after the last loud sample, counted from that sample's own time.

    The delay is exact for utterances that end sharply (the bursts of a fake run). With speech it is off by the time
    between the label and the last sample over -36 dBFS. Speech has ended when it was quiet for `delay_ms` less
    `MIN_QUIET_MS`, at most for `MAX_QUIET_MS`; the words play no part.
    """

    def __init__(self, delay_ms: float, scheduler: Scheduler) -> None:
        self._delay_ns = round(delay_ms * NS_PER_MS)
        self._quiet_samples = round(min(delay_ms - MIN_QUIET_MS, MAX_QUIET_MS) * SAMPLES_PER_MS)
        self._scheduler = scheduler
        self._send: SendMessage | None = None
        self._speech_end: int | None = None
        self._replies = 0

    async def open(self, send: SendMessage, on_closed: Callable[[str], None]) -> None:
        """See `Responder`."""
        self._send = send

    def receive(self, message: Inbound, frame: Frame | None, stream_start_ns: int | None) -> None:
        """Look for the end of speech, and schedule a reply after it."""
        if frame is None or stream_start_ns is None:
            return
        loud = np.flatnonzero(np.abs(frame.pcm.astype(np.int32)) > SPEECH_LEVEL)
        if len(loud):
            self._speech_end = frame.offset + int(loud[-1]) + 1
        elif self._speech_end is not None and frame.offset + len(frame.pcm) - self._speech_end >= self._quiet_samples:
            due_ns = stream_start_ns + self._speech_end * NS_PER_SAMPLE + self._delay_ns
            self._speech_end = None
            self._scheduler.call_at(due_ns, self._reply)

    async def close(self) -> None:
        """Send nothing more."""
        self._send = None

    def _reply(self, due_ns: int) -> None:
        if self._send is None:
            return
        self._replies += 1
        self._send(OutboundMedia("", mulaw.encode(make_burst(REPLY_MS, 1000 + self._replies).pcm)))
        self._send(OutboundMark("", f"reply-{self._replies}"))


class AgentProxy:
    """Carries one call to the agent at `url` and back.

    Twilio's SIDs stay here: the agent sees `alias` in their place, so that none of its logs and spans contain them.
    """

    def __init__(self, url: str, alias: str, *, clock: Clock) -> None:
        self._url = url
        self._alias = alias
        self._clock = clock
        self._connection: Connection | None = None
        self._send: SendMessage | None = None
        self._sequence = 1
        self.warnings: list[str] = []

    async def open(self, send: SendMessage, on_closed: Callable[[str], None]) -> None:
        """Connect to the agent.

        Raises:
            AgentError: the agent does not answer.
        """
        self._send = send
        self._connection = await open_connection(
            self._url,
            {},
            clock=self._clock,
            on_message=self._from_agent,
            on_closed=lambda reason, at_ns: on_closed(f"the agent ended the call: {reason}"),
        )
        self._connection.send(Connected().to_json())
        self._connection.send(Start(self._alias, self._alias, "live").to_json())

    def receive(self, message: Inbound, frame: Frame | None, stream_start_ns: int | None) -> None:
        """Forward a message; chunks are numbered by their position in the stream, so that a lost one leaves a gap."""
        if self._connection is None or isinstance(message, Connected | Start):
            return
        self._sequence += 1
        if isinstance(message, InboundMedia):
            assert frame is not None
            chunk = frame.offset // FRAME_SAMPLES + 1
            message = replace(message, stream_sid=self._alias, sequence_number=self._sequence, chunk=chunk)
        elif isinstance(message, Stop):
            message = Stop(self._alias, self._sequence, "live", self._alias)
        else:
            message = replace(message, stream_sid=self._alias, sequence_number=self._sequence)
        self._connection.send(message.to_json())

    async def close(self) -> None:
        """End the call with the agent."""
        if self._connection is not None:
            self._connection.send(Stop(self._alias, self._sequence + 1, "live", self._alias).to_json())
            await self._connection.close()

    def _from_agent(self, message: Message, recv_ns: int) -> None:
        assert self._send is not None
        if isinstance(message, Refused | LongMessage):
            reason = message.reason if isinstance(message, Refused) else "a message of over 1 MiB"
            self.warnings.append(f"the agent sent {reason}")
            return
        if isinstance(message, bytes):
            self.warnings.append("the agent sent a binary frame; Twilio accepts text frames only (31950)")
            return
        try:
            self._send(parse_outbound(message))
        except ProtocolError as error:
            self.warnings.append(f"the agent sent an invalid message: {error} (31951)")
