"""RTP packets (RFC 3550) of G.711 audio and of key presses (RFC 4733). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from turngap_agent.errors import ProtocolError

PCMU, PCMA, KEYS = 0, 8, 101
"""Payload types: those of RFC 3551, and the one that our offer gives to telephone events."""
AUDIO = (PCMU, PCMA)
KEY_SAMPLES = 1280
"""A key press lasts 160 ms."""
_VERSION, _HEADER = 2, struct.Struct("!BBHII")
_DIGITS = "0123456789*#ABCD"
_KEY_VOLUME = 10
"""-10 dBm0."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of one source."""

    payload_type: int
    sequence: int
    timestamp: int
    payload: bytes
    marker: bool = False


def write_packet(packet: Packet, source: int) -> bytes:
    """Return the packet's bytes; `source` is the SSRC. Numbers are taken modulo their sizes."""
    second = packet.payload_type | (0x80 if packet.marker else 0)
    head = _HEADER.pack(
        _VERSION << 6, second, packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, source & 0xFFFFFFFF
    )
    return head + packet.payload


def renumber(data: bytes, sequence: int, *, marker: bool) -> bytes:
    """Return a written packet under another number, with or without the marker."""
    second = data[1] & 0x7F | (0x80 if marker else 0)
    return bytes([data[0], second]) + struct.pack("!H", sequence & 0xFFFF) + data[4:]


def read_packet(data: bytes) -> Packet:
    """Return the packet in a datagram, without padding, extension and contributing sources.

    Raises:
        ProtocolError: it is no RTP.
    """
    if len(data) < _HEADER.size or data[0] >> 6 != _VERSION:
        raise ProtocolError(f"a datagram of {len(data)} bytes is no RTP packet")
    first, second, sequence, timestamp, _ = _HEADER.unpack_from(data)
    start, end = _HEADER.size + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if start + 4 > end:
            raise ProtocolError("an RTP packet ends in its header extension")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        end -= data[-1]
    if start > end:
        raise ProtocolError("an RTP packet is shorter than its headers and its padding")
    return Packet(second & 0x7F, sequence, timestamp, data[start:end], bool(second & 0x80))


def write_key(digit: str) -> bytes:
    """Return the payload of the end of a key press.

    Raises:
        ProtocolError: there is no such key.
    """
    event = _DIGITS.find(digit.upper())
    if event < 0 or len(digit) != 1:
        raise ProtocolError(f"no key {digit!r}")
    return struct.pack("!BBH", event, 0x80 | _KEY_VOLUME, KEY_SAMPLES)


class PacketOrder:
    """Tells the next packets of a source from those that come twice or too late: a phone has played past them."""

    def __init__(self) -> None:
        self._last: int | None = None

    def is_next(self, sequence: int) -> bool:
        """Return whether the packet is newer than all before it; call it once a packet."""
        if self._last is not None and not 0 < (sequence - self._last) & 0xFFFF < 0x8000:
            return False
        self._last = sequence
        return True
