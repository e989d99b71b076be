"""Who can stand at the agent's end of the loop: an echo, for its floor, and an agent whose delay is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_SAMPLES, mulaw
from turngap_agent.telephony.messages import Connected, Inbound, InboundMedia, OutboundMark, OutboundMedia, Start, Stop
from turngap_agent.telephony.parsing import parse_outbound

from turngap.calibration.calibrate import burst
from turngap.caller.connection import Connection, open_connection
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, Clock
from turngap.live.agent_leg import SendMessage
from turngap.live.leg_audio import SAMPLES_PER_MS, Frame

MIN_DELAY_MS = 80.0
REPLY_MS = 400.0
AUDIBLE = 500
"""A sample over this (-36 dBFS) is speech: comfort noise at -60 dBFS never is."""


class EchoResponder:
    """Says back what it hears, frame by frame, at once."""

    def __init__(self) -> None:
        self._say: SendMessage | None = None

    async def open(self, say: SendMessage, on_closed: Callable[[str], None]) -> None:
        """As `Answerer`."""
        self._say = say

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """Send a frame back."""
        if isinstance(message, InboundMedia) and self._say is not None:
            self._say(OutboundMedia("", message.payload))

    async def close(self) -> None:
        """Nothing is held."""


class FixedDelayResponder:
    """Answers with a burst of noise so long after the last loud sample it heard, at that sample's own line time.

    Exact for utterances that end sharply (the bursts of a fake run); with speech it is off by what lies between the
    label and the last sample over -36 dBFS. It takes for an end what is quiet for 40 ms less than its delay, at most
    300 ms: it knows nothing of what is said.
    """

    def __init__(self, delay_ms: float, scheduler: Scheduler) -> None:
        self._delay_ns = round(delay_ms * NS_PER_MS)
        self._hangover = round(min(delay_ms - 40, 300) * SAMPLES_PER_MS)
        self._scheduler = scheduler
        self._say: SendMessage | None = None
        self._last: int | None = None
        self._replies = 0

    async def open(self, say: SendMessage, on_closed: Callable[[str], None]) -> None:
        """As `Answerer`."""
        self._say = say

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """Look for the end of speech."""
        if frame is None or line_start_ns is None:
            return
        loud = np.flatnonzero(np.abs(frame.pcm.astype(np.int32)) > AUDIBLE)
        if len(loud):
            self._last = frame.offset + int(loud[-1]) + 1
        elif self._last is not None and frame.offset + len(frame.pcm) - self._last >= self._hangover:
            at_ns = line_start_ns + self._last * NS_PER_SAMPLE + self._delay_ns
            self._last = None
            self._scheduler.at(at_ns, self._reply)

    async def close(self) -> None:
        """Say no more."""
        self._say = None

    def _reply(self, due_ns: int) -> None:
        if self._say is None:
            return
        self._replies += 1
        self._say(OutboundMedia("", mulaw.encode(burst(REPLY_MS, 1000 + self._replies).pcm)))
        self._say(OutboundMark("", f"reply-{self._replies}"))


class AgentProxy:
    """Carries one call to the agent at `url` and back."""

    def __init__(self, url: str, alias: str, *, clock: Clock) -> None:
        self._url = url
        self._alias = alias
        self._clock = clock
        self._connection: Connection | None = None
        self._say: SendMessage | None = None
        self._sequence = 1
        self.warnings: list[str] = []

    async def open(self, say: SendMessage, on_closed: Callable[[str], None]) -> None:
        """Call the agent.

        Raises:
            AgentError: it does not answer.
        """
        self._say = say
        self._connection = await open_connection(
            self._url,
            {},
            clock=self._clock,
            on_message=self._from_agent,
            on_closed=lambda reason, at_ns: on_closed(f"the agent ended the call: {reason}"),
        )
        self._connection.send(Connected().to_json())
        self._connection.send(Start(self._alias, self._alias, "live").to_json())

    def hear(self, message: Inbound, frame: Frame | None, line_start_ns: int | None) -> None:
        """Hand it on; chunks are numbered by their place in the stream, so that a lost one leaves a hole."""
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
        """Hang up on the agent."""
        if self._connection is not None:
            self._connection.send(Stop(self._alias, self._sequence + 1, "live", self._alias).to_json())
            await self._connection.close()

    def _from_agent(self, message: str | bytes, recv_ns: int) -> None:
        assert self._say is not None
        if isinstance(message, bytes):
            self.warnings.append("31950: a binary frame; Twilio takes text frames only")
            return
        try:
            self._say(parse_outbound(message))
        except ProtocolError as fault:
            self.warnings.append(f"31951: an invalid message: {fault}")
