"""Frames are cut to bounded pieces that a WebSocket parser puts together again, whatever arrives in whatever parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.long_message import LongMessage, slice_message
from turngap.caller.traffic import BURST_BYTES, BURST_MESSAGES, BYTES_PER_S, MESSAGES_PER_S, TrafficBudget
from turngap.caller.websocket_frames import PIECE_BYTES, FrameSplitter, Piece, draw_masks, make_client_frame
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol, State

MOST = 60_000
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.integers(0, MOST).map(lambda size: bytes(range(256)) * (size // 256) + b"x" * (size % 256)),
)
MESSAGES = st.lists(st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), PAYLOADS), max_size=6)


def split(data: bytes, cuts: Sequence[int]) -> list[Piece]:
    """The pieces of `data` that arrives in parts."""
    splitter, pieces, places = FrameSplitter(MOST), [], sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        splitter.feed(data[start:end])
        while (piece := splitter.next_piece()) is not None:
            pieces.append(piece)
    return pieces


def read(pieces: Sequence[Piece]) -> list[tuple[Opcode, bytes]]:
    """The messages and control frames that a client's parser finds in the pieces."""
    protocol = Protocol(CLIENT, state=State.OPEN)
    messages: list[tuple[Opcode, bytes]] = []
    for piece in pieces:
        protocol.receive_data(piece.data)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.CONT:
                messages[-1] = (messages[-1][0], messages[-1][1] + bytes(event.data))
            else:
                messages.append((event.opcode, bytes(event.data)))
    assert protocol.parser_exc is None
    return messages


@given(MESSAGES, st.lists(st.integers(0, 200_000), max_size=6))
def test_the_pieces_are_the_messages(messages: list[tuple[Opcode, bytes]], cuts: list[int]) -> None:
    """Each in its order, whole; and no piece is longer than the limit."""
    sent = [(code, data[:125] if code is Opcode.PING else data) for code, data in messages]
    data = b"".join(Frame(code, payload).serialize(mask=False) for code, payload in sent)
    pieces = split(data, cuts)
    assert read(pieces) == sent
    assert all(len(piece.data) <= PIECE_BYTES + 4 for piece in pieces)
    assert sum(piece.starts_frame for piece in pieces) == len(sent)


@given(st.integers(1, 5), st.integers(0, 50_000))
def test_a_message_over_the_limit_is_passed_on_empty(fragments: int, more: int) -> None:
    """In one frame or in fragments; its size is told, and the next message is whole."""
    sizes = [(MOST + more) // fragments + 1] * fragments
    frames = [
        Frame(Opcode.TEXT if index == 0 else Opcode.CONT, b"a" * size, fin=index == fragments - 1)
        for index, size in enumerate(sizes)
    ]
    data = b"".join(frame.serialize(mask=False) for frame in [*frames, Frame(Opcode.TEXT, b"next")])
    pieces = split(data, [10, 70_000])
    refused = [piece.refused_bytes for piece in pieces if piece.refused_bytes]
    assert refused == [sum(sizes)]
    assert read(pieces)[-1] == (Opcode.TEXT, b"next")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_are_passed_on_or_awaited(data: bytes, cuts: list[int]) -> None:
    """Nothing that arrives breaks the splitter, and it never keeps a complete short frame back."""
    pieces = split(data, cuts)
    assert sum(len(piece.data) for piece in pieces) <= len(data) + 4 * len(pieces)


def test_what_no_server_sends_reaches_the_parser() -> None:
    """A masked frame, and a compressed one: the parser refuses them, as no mask and no compression was agreed on."""
    for data in (Frame(Opcode.TEXT, b"hello").serialize(mask=True), b"\xc1\x03abc"):
        protocol = Protocol(CLIENT, state=State.OPEN)
        for piece in split(data, []):
            protocol.receive_data(piece.data)
        assert protocol.parser_exc is not None


@given(st.lists(st.text("abc", max_size=9), min_size=1, max_size=9), st.integers(1, 7))
def test_a_long_message_is_sliced_as_if_it_were_whole(parts: list[str], size: int) -> None:
    """Wherever its parts end."""
    whole = "".join(parts)
    slices = list(slice_message(LongMessage(parts), size))
    assert slices == [whole[at : at + size] for at in range(0, len(whole), size)]
    assert slices == list(slice_message(whole, size))


def test_the_budget_allows_a_burst_and_then_a_rate() -> None:
    """Bytes and messages are counted apart; what was spent comes back with time; the reason says what to do."""
    budget = TrafficBudget()
    budget.refill(0)
    assert budget.spend(BURST_BYTES, BURST_MESSAGES) is None
    budget.refill(1_000_000_000)
    assert budget.spend(BYTES_PER_S, MESSAGES_PER_S) is None
    refused = budget.spend(1)
    assert refused is not None
    assert refused.ends_call
    assert "1 MiB in each second" in refused.reason
    again = TrafficBudget().spend(0, BURST_MESSAGES + 1)
    assert again is not None
    assert "messages" in again.reason


@given(MESSAGES, st.lists(st.integers(0, 200_000), max_size=6))
def test_a_whole_text_message_needs_no_parser(messages: list[tuple[Opcode, bytes]], cuts: list[int]) -> None:
    """Where texts are taken first, each one is what a parser would find, and nothing else is taken for one."""
    sent = [(code, data[:125] if code is Opcode.PING else data) for code, data in messages]
    data = b"".join(Frame(code, payload).serialize(mask=False) for code, payload in sent)
    splitter, protocol = FrameSplitter(MOST), Protocol(CLIENT, state=State.OPEN)
    found: list[tuple[Opcode, bytes | str]] = []
    places = sorted({min(cut, len(data)) for cut in cuts})
    is_in_message = False
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        splitter.feed(data[start:end])
        while splitter.has_bytes:
            if not is_in_message and (text := splitter.next_text()) is not None:
                found.append((Opcode.TEXT, text))
                continue
            if (piece := splitter.next_piece()) is None:
                break
            protocol.receive_data(piece.data)
            for event in protocol.events_received():
                assert isinstance(event, Frame)
                is_in_message = not event.fin
                if event.opcode is Opcode.CONT:
                    earlier = found[-1][1]
                    assert isinstance(earlier, bytes)
                    found[-1] = (found[-1][0], earlier + bytes(event.data))
                else:
                    found.append((event.opcode, bytes(event.data)))
    as_text = [(code, one.decode("utf-8", "replace") if code is Opcode.TEXT else one) for code, one in sent]
    assert [
        (code, one.decode("utf-8", "replace") if code is Opcode.TEXT and isinstance(one, bytes) else one)
        for code, one in found
    ] == as_text


@given(st.text(max_size=300) | st.binary(max_size=300) | st.just(b"x" * 70_000), st.binary(min_size=4, max_size=4))
def test_a_client_frame_is_what_the_library_writes(message: str | bytes, mask: bytes) -> None:
    """With the same mask, byte for byte."""
    opcode, payload = (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_bytes", lambda size: mask)
        expected = Frame(opcode, payload).serialize(mask=True)
    assert make_client_frame(message, mask) == expected


def test_masks_differ() -> None:
    """Each has four bytes of the system's randomness."""
    masks = list(itertools.islice(draw_masks(), 1000))
    assert {len(mask) for mask in masks} == {4}
    assert len(set(masks)) > 990
