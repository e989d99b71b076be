"""The media of one call over SIP: RTP on a socket of its own, with the methods of a WebSocket `Connection`.

A packet's time is that at which the event loop hands it over, as for a WebSocket; the sender's time stamps are not
used. A packet that comes twice, or after a later one, is dropped, as by a phone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import mulaw

from turngap.caller import alaw
from turngap.caller.connection import OnClosed, OnMessage
from turngap.caller.dialects.registry import SIP
from turngap.caller.sip import rtp
from turngap.caller.sip.signalling import Answer, Signalling, find_route
from turngap.caller.traffic import TrafficBudget
from turngap.clock import Clock

KEY_COPIES = 3
"""The end of a key press is sent three times (RFC 4733, section 2.5.1.4)."""
HUNG_UP = "it hung up (BYE)"


class SipLine(asyncio.DatagramProtocol):
    """An answered call; created by `open_sip_line`."""

    def __init__(self, clock: Clock, on_message: OnMessage, on_closed: OnClosed) -> None:
        self._clock, self._on_message, self._on_closed = clock, on_message, on_closed
        self._transport: Any = None
        """asyncio's, of datagrams."""
        self._signalling: Signalling | None = None
        self._answer: Answer | None = None
        self._source: Any = None
        """Where the agent's packets come from; others are not its own."""
        self._order = rtp.PacketOrder()
        self._budget = TrafficBudget()
        self._repeated = 0
        """Copies that were sent. Each has a number of its own (RFC 4733, section 2.5.1.4),
        which moves all that follow."""
        self._over = False
        self._needs_no_bye = False

    @property
    def unsent_bytes(self) -> int:
        """None: a datagram leaves or is lost."""
        return 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def start(self, signalling: Signalling, answer: Answer) -> None:
        """Send to where the agent's answer says from now on."""
        self._signalling, self._answer = signalling, answer

    def end_by_agent(self) -> None:
        """Report the agent's BYE."""
        self._needs_no_bye = True
        if not self._over:
            self._over = True
            self._on_closed(HUNG_UP, self._clock.now_ns())

    def send(self, message: str | bytes) -> None:
        """Send an RTP packet now; its audio becomes A-law if that was agreed on."""
        if self._over or self._answer is None or self._transport is None or isinstance(message, str):
            return
        packet = rtp.read_packet(message)
        data = message
        if packet.payload_type == rtp.PCMU and self._answer.payload_type == rtp.PCMA:
            head = bytes([message[0], message[1] & 0x80 | rtp.PCMA]) + message[2 : len(message) - len(packet.payload)]
            data = head + alaw.encode(mulaw.decode(packet.payload))
        for copy in range(KEY_COPIES if packet.payload_type == rtp.KEYS else 1):
            self._repeated += copy > 0
            if self._repeated:
                data = rtp.renumber(data, packet.sequence + self._repeated, marker=packet.marker and not copy)
            self._transport.sendto(data, self._answer.address)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by asyncio."""
        now_ns = self._clock.now_ns()
        if self._over or self._answer is None:
            return
        self._budget.refill(now_ns)
        if (refused := self._budget.spend(len(data), 1)) is not None:
            self._over = True
            self._on_message(refused, now_ns)
            self._on_closed(refused.reason, now_ns)
            return
        try:
            packet = rtp.read_packet(data)
        except ProtocolError:
            return  # not RTP, such as a packet that keeps a NAT's port open
        if self._source is None and packet.payload_type in rtp.AUDIO:
            self._source = addr
        if addr == self._source and packet.payload_type in rtp.AUDIO and self._order.is_next(packet.sequence):
            self._on_message(data, now_ns)

    def drop(self) -> None:
        """Disappear at once, as a phone without a network does: no BYE."""
        self._over = self._needs_no_bye = True
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the call with a BYE; the agent has a second to confirm it."""
        self._over = True
        self._signalling, signalling = None, self._signalling
        try:
            if signalling is not None and not self._needs_no_bye:
                await signalling.hang_up()
        finally:
            if signalling is not None:
                await signalling.close()
            if self._transport is not None:
                self._transport.close()
            await asyncio.sleep(0)  # asyncio closes a socket in the loop's next turn


async def open_sip_line(
    url: str,
    _headers: Mapping[str, str],
    *,
    clock: Clock,
    on_message: OnMessage,
    on_closed: OnClosed,
    parameters: Mapping[str, str],
) -> SipLine:
    """Call the agent at `url` (sip:user@host); each of the `parameters` is a header `X-NAME` of the INVITE.

    The headers of a WebSocket's upgrade have no place in SIP.

    Raises:
        AgentError: it did not answer, or refused; one line with the URL and what to do.
    """
    line, route = SipLine(clock, on_message, on_closed), await find_route(url)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: line, local_addr=(route.own, 0))
    signalling = None
    try:
        signalling = await Signalling.open(route, line.end_by_agent)
        answer = await signalling.invite(transport.get_extra_info("sockname")[1], parameters)
    except BaseException:
        transport.close()
        if signalling is not None:
            await signalling.close()
        raise
    line.start(signalling, answer)
    return line


def choose_opening(
    dialect: str, otherwise: Callable[..., Any], call_sid: str, parameters: Mapping[str, str]
) -> Callable[..., Any]:
    """Return what opens a line of that dialect: `otherwise` for all but SIP."""
    if dialect != SIP:
        return otherwise
    return partial(open_sip_line, parameters={"Call-Sid": call_sid, **parameters})
