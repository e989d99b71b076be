"""An agent behind SIP for tests: `aiosipua` answers its calls; its RTP is written from RFC 3550, not from our code."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiosipua import IncomingCall, SipUAS, negotiate_sdp
from turngap.caller import alaw
from turngap.caller.sip.udp import UdpSocket
from turngap.model.records import Pcm16
from turngap_agent.telephony import mulaw

from tests.harness.caller.calls import FastClock

FRAME_NS = 20_000_000


@dataclass
class SipAgent(asyncio.DatagramProtocol):
    """Answers every call; speaks 200 ms after the caller, in packets of 20 ms by the tests' fast clock."""

    voice: Pcm16
    codecs: list[int] = field(default_factory=lambda: [0])
    rejects: int = 0
    """The status with which it refuses calls."""
    hangs_up: bool = False
    """It ends the call after its first answer."""
    doubles: bool = False
    """Each packet comes twice."""
    headers: list[dict[str, str]] = field(default_factory=list)
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    """Payload type and payload of each packet of the caller."""
    heads: list[tuple[int, int, bool]] = field(default_factory=list)
    """Sequence number, timestamp and marker of each."""
    byes: int = 0
    _clock: FastClock = field(default_factory=FastClock)
    _silent: int = 0
    _spoke: bool = False
    _sequence: int = 65_530
    _call: Any = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Answer calls; yield the URL."""
        loop = asyncio.get_running_loop()
        media, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._media = media
        transport = await UdpSocket.bind("127.0.0.1")
        uas = SipUAS(transport)
        uas.on_invite, uas.on_bye = self._take, self._note_bye
        await uas.start()
        try:
            yield f"sip:agent@127.0.0.1:{transport.local_addr[1]}"
        finally:
            for task in self._tasks:
                task.cancel()
            await uas.stop()
            media.close()
            await asyncio.sleep(0)

    def _take(self, call: IncomingCall) -> None:
        self.headers.append(call.x_headers)
        if self.rejects:
            call.reject(self.rejects)
            return
        assert call.sdp_offer is not None
        answer, self._type = negotiate_sdp(
            call.sdp_offer, "127.0.0.1", self._media.get_extra_info("sockname")[1], supported_codecs=self.codecs
        )
        self._peer = call.sdp_offer.rtp_address
        self._call = call
        call.ringing()
        call.accept(answer)

    def _note_bye(self, *_: object) -> None:
        self.byes += 1

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """The caller's packet."""
        kind, payload = data[1] & 0x7F, data[12:]
        self.packets.append((kind, payload))
        sequence, timestamp = struct.unpack_from("!HI", data, 2)
        self.heads.append((sequence, timestamp, bool(data[1] & 0x80)))
        if kind not in (0, 8):
            return
        pcm = mulaw.decode(payload) if kind == 0 else alaw.decode(payload)
        is_loud = bool(np.abs(pcm.astype(int)).max() > 2000)
        self._spoke, self._silent = self._spoke or is_loud, 0 if is_loud else self._silent + 1
        if self._spoke and self._silent == 10:
            self._spoke = False
            self._tasks.append(asyncio.create_task(self._answer()))

    async def _answer(self) -> None:
        data = mulaw.encode(self.voice) if self._type == 0 else alaw.encode(self.voice)
        at_ns = self._clock.now_ns()
        for first in range(0, len(data), 160):
            packet = struct.pack("!BBHII", 0x80, self._type, self._sequence & 0xFFFF, first, 99)
            for _ in range(1 + self.doubles):
                self._media.sendto(packet + data[first : first + 160], self._peer)
            self._sequence += 1
            at_ns += FRAME_NS
            await self._clock.sleep_ns(max(0, at_ns - self._clock.now_ns()))
        if self.hangs_up:
            self._call.hangup()
