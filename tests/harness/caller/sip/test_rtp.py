"""RTP packets: what is written is read, what others add is left out, and what is none is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.sip.rtp import KEYS, Packet, PacketOrder, read_packet, write_key, write_packet
from turngap_agent.errors import ProtocolError

PACKETS = st.builds(
    Packet,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
)


@given(PACKETS, st.integers(0, 0xFFFFFFFF))
def test_what_is_written_is_read(packet: Packet, source: int) -> None:
    """All fields, and the source where RFC 3550 has it."""
    data = write_packet(packet, source)
    assert read_packet(data) == packet
    assert struct.unpack_from("!I", data, 8) == (source,)


@given(PACKETS, st.integers(0, 15), st.integers(0, 5), st.integers(0, 20))
def test_what_others_add_is_left_out(packet: Packet, sources: int, words: int, padding: int) -> None:
    """Contributing sources, a header extension and padding."""
    data = write_packet(packet, 7)
    extension = struct.pack("!HH", 0xBEDE, words) + bytes(4 * words)
    pad = bytes(padding - 1) + bytes([padding]) if padding else b""
    first = data[0] | sources | 0x10 | (0x20 if padding else 0)
    whole = bytes([first]) + data[1:12] + bytes(4 * sources) + extension + packet.payload + pad
    assert read_packet(whole) == packet


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    """No other error."""
    try:
        packet = read_packet(data)
    except ProtocolError:
        return
    assert len(packet.payload) <= len(data) - 12
    assert data[0] >> 6 == 2


def test_packets_that_come_twice_or_late_are_none() -> None:
    """Numbers begin anew after 65,535."""
    order = PacketOrder()
    sequences = [65_533, 65_534, 65_534, 0, 65_535, 1, 1, 3]
    assert [order.is_next(sequence) for sequence in sequences] == [True, True, False, True, False, True, False, True]


def test_the_end_of_a_key_press() -> None:
    """RFC 4733: event 11 is #, the end bit is set, and it lasts 160 ms."""
    assert write_key("#") == bytes([11, 0x8A, 0x05, 0x00])
    assert read_packet(write_packet(Packet(KEYS, 1, 2, write_key("5")), 3)).payload[0] == 5
    for digit in ("x", "", "55"):
        with pytest.raises(ProtocolError, match="no key"):
            write_key(digit)
