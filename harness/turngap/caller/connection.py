"""The caller's WebSocket: the protocol of `websockets` on an asyncio transport of our own, for exact times.

Frames are written in the same call that composes them, and received bytes are time-stamped when the event loop hands
them over, before any task is scheduled. No compression, no Nagle delay. In one turn of the event loop a connection
reads 256 KiB at most and handles 4 frames at most, so that no agent, whatever it sends, delays another call.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping

import numpy as np
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from turngap.caller.connection_errors import CONNECT_TIMEOUT_S, connection_error, describe_close, explain_error
from turngap.caller.long_message import AnyMessage
from turngap.caller.message_assembly import DATA_OPCODES, MessageAssembly
from turngap.caller.traffic import MAX_MESSAGE_BYTES, Refused, TrafficBudget, refuse_message
from turngap.caller.websocket_frames import PIECE_BYTES, FrameSplitter, draw_masks, make_client_frame
from turngap.clock import Clock

CLOSE_TIMEOUT_S = 1.0
READ_BYTES = 256 * 1024
"""Read at once: some 1,000 messages of 20 ms, which all get that time."""
SLICE_FRAMES = 4
"""Frames handled before the event loop gets its turn: 0.1 ms if each is a short message with audio."""

FREE_SLICES = 64
"""So many slices one after the other are handled without a pause: a reply of five seconds that comes at once."""
REST_NS = 200_000_000
"""A burst has ended when nothing was read for so long."""
PAUSE_S = 0.001
"""Between further slices. An event loop in real time that never rests is stopped for 50 ms in each second by the system
(sched_rt_runtime_us)."""

Message = AnyMessage | Refused
"""A text or a binary message, in parts if it is longer than `long_message.JOINED_BYTES`; or what was not taken."""
OnMessage = Callable[[Message, int], None]
"""Called with a message and the time at which its end was read, in ns."""
OnClosed = Callable[[str, int], None]
"""Called once when the other side ends the connection, with the reason in words and the time in ns."""


class Connection(asyncio.BufferedProtocol):
    """An open WebSocket; created by `open_connection`."""

    def __init__(self, protocol: ClientProtocol, clock: Clock, on_message: OnMessage, on_closed: OnClosed) -> None:
        self._protocol = protocol
        self._clock = clock
        self._on_message = on_message
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._read_buffer = np.empty(READ_BYTES, np.uint8).data  # memory that is taken where it is used only
        self._masks = draw_masks()
        self._splitter = FrameSplitter(MAX_MESSAGE_BYTES)
        self._budget = TrafficBudget()
        self._recv_ns = 0
        self._slices = 0
        """Of the present burst."""
        self._is_behind = False
        """Whether frames that were read are still to be handled; nothing more is read meanwhile."""
        self._lost_because = ""
        self._assembly = MessageAssembly()
        self._end_reported = False

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the other side has not accepted yet; a large number means that it does not read."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: str | bytes) -> None:
        """Write a text or binary message now; do nothing once the connection is closing."""
        if self._protocol.state is State.OPEN and self._transport is not None and not self._transport.is_closing():
            self._transport.write(make_client_frame(message, next(self._masks)))

    def drop(self) -> None:
        """Disappear at once, as a phone without a network does: no close message, and unsent data is lost."""
        self._end_reported = True
        if self._transport is not None:
            self._transport.abort()

    async def open(self, headers: Mapping[str, str]) -> None:
        """Request the upgrade and wait for it; a protocol error is raised as `websockets` reports it."""
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        await self._opened

    async def close(self) -> None:
        """Close with a close message; after a second, or when cancelled, abort."""
        self._end_reported = True
        if not self._opened.done():  # nobody waits for it any more
            self._opened.cancel()
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self._lost), CLOSE_TIMEOUT_S)
        finally:
            if self._transport is not None:
                self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tcp_socket = transport.get_extra_info("socket")
        if tcp_socket is not None:
            tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by asyncio: where the next bytes are written to."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by asyncio."""
        now_ns = self._clock.now_ns()
        self._slices = 0 if now_ns - self._recv_ns > REST_NS else self._slices
        self._recv_ns = now_ns
        data = bytes(self._read_buffer[:nbytes])
        if self._protocol.state is State.CONNECTING:
            data = self._read_handshake(data)
        self._budget.refill(self._recv_ns)
        if (refused := self._budget.spend(len(data))) is not None:
            self._end_flood(refused)
            return
        self._splitter.feed(data)
        self._handle_pieces()

    def eof_received(self) -> None:
        """Called by asyncio."""
        self._protocol.receive_eof()
        self._flush()
        self._check_protocol(self._clock.now_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""

        self._lost_because = str(exc or "no close message")
        if not self._lost.done():
            self._lost.set_result(None)
        if not self._is_behind:
            self._end_lost()

    def _end_lost(self) -> None:
        """Report the end of a connection that was lost, once all that was read is handled."""
        self._protocol.receive_eof()
        self._check_protocol(self._clock.now_ns())
        self._report_end(f"the connection broke ({self._lost_because})", self._clock.now_ns())

    def _read_handshake(self, data: bytes) -> bytes:
        """Pass on the answer to the upgrade, line by line; return what follows it."""
        while data and self._protocol.state is State.CONNECTING:
            end = data.find(b"\n") + 1 or len(data)
            self._protocol.receive_data(data[:end])
            data = data[end:]
            self._handle_events()
        self._flush()
        return data

    def _handle_pieces(self) -> None:
        """Handle the frames that were read, some in each turn of the event loop."""
        was_behind, self._is_behind = self._is_behind, False
        frames = 0
        while self._splitter.has_bytes and not self._is_behind:
            # A whole text message needs no parser, unless the connection is closing or a message is in parts.
            is_plain = not self._assembly.is_in_message and self._protocol.state is State.OPEN
            text = self._splitter.next_text() if is_plain else None
            piece = self._splitter.next_piece() if text is None else None
            if text is None and piece is None:
                break
            starts_frame = piece is None or piece.starts_frame
            if (refused := self._budget.spend(0, int(starts_frame))) is not None:
                self._end_flood(refused)
                return
            if text is not None:
                self._on_message(text, self._recv_ns)
            elif piece is not None:
                self._protocol.receive_data(piece.data)
                self._handle_events(piece.refused_bytes)
                self._flush()
            frames += starts_frame
            self._is_behind = frames == SLICE_FRAMES
        assert self._transport is not None
        if self._is_behind:
            if not self._transport.is_closing():
                self._transport.pause_reading()
            self._slices += 1
            self._loop.call_later(0 if self._slices < FREE_SLICES else PAUSE_S, self._handle_pieces)
        elif self._lost_because:
            self._end_lost()
        elif was_behind and not self._transport.is_closing():
            self._transport.resume_reading()

    def _handle_events(self, refused_bytes: int = 0) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._handle_frame(event, refused_bytes)
            elif isinstance(event, Response) and not self._opened.done() and self._protocol.handshake_exc is None:
                self._opened.set_result(None)
        self._check_protocol(self._recv_ns)

    def _handle_frame(self, frame: Frame, refused_bytes: int) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._report_end(describe_close(Close.parse(frame.data)), self._recv_ns)
        elif frame.opcode in DATA_OPCODES:
            message = self._assembly.add(frame)
            if message is not None:
                self._on_message(refuse_message(refused_bytes) if refused_bytes else message, self._recv_ns)

    def _end_flood(self, refused: Refused) -> None:
        """End the connection because the agent sent too much."""
        if not self._end_reported:
            self._on_message(refused, self._recv_ns)
            self._report_end(refused.reason, self._recv_ns)
        if self._transport is not None:
            self._transport.abort()

    def _check_protocol(self, now_ns: int) -> None:
        """Report a failed handshake or a protocol error."""
        if self._protocol.handshake_exc is not None and not self._opened.done():
            self._opened.set_exception(self._protocol.handshake_exc)
        elif self._protocol.parser_exc is not None and self._opened.done():
            error = self._protocol.parser_exc
            if not isinstance(error, EOFError):
                self._report_end(f"WebSocket protocol error: {error} (Twilio 31924)", now_ns)

    def _report_end(self, reason: str, now_ns: int) -> None:
        if not self._opened.done():
            self._opened.set_exception(EOFError())
        elif not self._end_reported:
            self._end_reported = True
            self._on_closed(reason, now_ns)

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:  # TLS has no half-close
                self._transport.close()


async def open_connection(
    url: str, headers: Mapping[str, str], *, clock: Clock, on_message: OnMessage, on_closed: OnClosed
) -> Connection:
    """Open a WebSocket to `url` (ws:// or wss://) with extra request `headers`.

    Raises:
        AgentError: it cannot be opened; one line with the URL, what to do and Twilio's error code, which is also the
            last part of the error's `code`, as in `agent.31902`.
    """
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise connection_error(31923, f"{url!r} is not a ws:// or wss:// URL: {error}") from None
    protocol = ClientProtocol(uri, max_size=MAX_MESSAGE_BYTES + PIECE_BYTES)
    tls = ssl.create_default_context() if uri.secure else None
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(protocol, clock, on_message, on_closed), uri.host, uri.port, ssl=tls
            )
            await connection.open(headers)
    except BaseException as error:
        if connection is not None:
            await connection.close()
        explained = explain_error(url, error)
        if explained is None:
            raise
        raise explained from None
    return connection
