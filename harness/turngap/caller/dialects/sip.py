"""SIP: 20 ms of G.711 in an RTP packet each way; no marks and no `clear`, which SIP does not have.

A phone keeps little audio: what is sent faster than it plays is lost from a second on.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.caller.dialects import AgentAudio, AgentEvent, StreamNames, Wire
from turngap.caller.dialects.audio import ALAW, MULAW
from turngap.caller.long_message import AnyMessage
from turngap.caller.sip import rtp


class SipDialect:
    """The caller's side of one call's RTP; the line converts its packets where A-law was agreed on."""

    name = "sip"
    platform = "SIP"
    max_buffered_ns = 1_000_000_000
    echoes_cleared_marks = False

    def __init__(self, names: StreamNames) -> None:
        draw = random.Random(names.stream)
        self._source, self._first_sequence = draw.getrandbits(32), draw.getrandbits(16)
        self._first_timestamp = draw.getrandbits(32)
        self._timestamp = self._first_timestamp
        self._packets = 0
        self.chunk = 0

    def start_messages(self, parameters: Mapping[str, str]) -> Sequence[Wire]:
        """Nothing: parameters are headers of the INVITE."""
        return ()

    def media_message(self, frame: int, payload: bytes) -> Wire:
        """An RTP packet of μ-law."""
        self.chunk += 1
        self._timestamp = self._first_timestamp + frame * FRAME_SAMPLES
        return self._write(rtp.PCMU, payload, marker=self.chunk == 1)

    def key_message(self, digit: str) -> Wire:
        """The packet that begins and ends a telephone event; the first of an event is marked."""
        return self._write(rtp.KEYS, rtp.write_key(digit), marker=True)

    def mark_message(self, name: str) -> Wire:
        """There are none: an agent cannot ask for them."""
        raise ProtocolError("SIP has no marks")

    def cleared_messages(self) -> Sequence[Wire]:
        """Nothing."""
        return ()

    def stop_messages(self) -> Sequence[Wire]:
        """Nothing: the line ends with a BYE."""
        return ()

    def read_plain_audio(self, message: AnyMessage) -> bytes | None:
        """None: a packet has a header, and perhaps A-law."""
        return None

    def parse(self, message: AnyMessage) -> tuple[AgentEvent, Sequence[tuple[str, str]]]:
        """The audio of an RTP packet."""
        if not isinstance(message, bytes):
            raise ProtocolError("a message that is no RTP packet")
        packet = rtp.read_packet(message)
        if packet.payload_type not in rtp.AUDIO:
            raise ProtocolError(f"an RTP packet of type {packet.payload_type}; 0 or 8 was agreed on")
        return AgentAudio(packet.payload, MULAW if packet.payload_type == rtp.PCMU else ALAW), ()

    def _write(self, payload_type: int, payload: bytes, *, marker: bool = False) -> bytes:
        sequence = self._first_sequence + self._packets
        self._packets += 1
        return rtp.write_packet(rtp.Packet(payload_type, sequence, self._timestamp, payload, marker), self._source)
