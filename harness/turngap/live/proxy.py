"""The agent under test at the end of the loop: its own WebSocket, fed with what Twilio brings, under names of our own.

SIDs stay here: the agent sees an alias, so that no log and no span of it holds Twilio's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_SAMPLES
from turngap_agent.telephony.messages import Connected, Inbound, InboundMedia, Start, Stop
from turngap_agent.telephony.parsing import parse_outbound

from turngap.caller.connection import Connection, open_connection
from turngap.clock import Clock
from turngap.live.agent_leg import Say
from turngap.live.track import Frame


class Proxy:
    """Carries one call to the agent at `url` and back."""

    def __init__(self, url: str, alias: str, *, clock: Clock) -> None:
        self._url = url
        self._alias = alias
        self._clock = clock
        self._connection: Connection | None = None
        self._say: Say | None = None
        self._sequence = 1
        self.warnings: list[str] = []

    async def open(self, say: Say, on_closed: Callable[[str], None]) -> None:
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
