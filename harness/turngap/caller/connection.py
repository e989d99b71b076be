"""The caller's WebSocket: the protocol of `websockets` on an asyncio transport of our own, for exact times.

Frames are written in the same call that composes them, and received bytes are time-stamped when the event loop hands
them over, before any task is scheduled. No compression, no Nagle delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping

from turngap_agent.errors import AgentError
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus, InvalidURI
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from turngap.clock import Clock

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

OnMessage = Callable[[str | bytes, int], None]
"""Called with a text or binary message and the time at which it was read, in ns."""
OnClosed = Callable[[str, int], None]
"""Called once when the other side ends the connection, with the reason in words and the time in ns."""


class Connection(asyncio.Protocol):
    """An open WebSocket; created by `open_connection`."""

    def __init__(self, protocol: ClientProtocol, clock: Clock, on_message: OnMessage, on_closed: OnClosed) -> None:
        self._protocol = protocol
        self._clock = clock
        self._on_message = on_message
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._binary = False
        self._end_reported = False

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the other side has not accepted yet; a large number means that it does not read."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, text: str) -> None:
        """Write a text message now; do nothing once the connection is closing."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._flush()

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

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        recv_ns = self._clock.now_ns()
        self._protocol.receive_data(data)
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._handle_frame(event, recv_ns)
            elif isinstance(event, Response) and not self._opened.done() and self._protocol.handshake_exc is None:
                self._opened.set_result(None)
        self._check_protocol(recv_ns)

    def eof_received(self) -> None:
        """Called by asyncio."""
        self._protocol.receive_eof()
        self._flush()
        self._check_protocol(self._clock.now_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._protocol.receive_eof()
        if not self._lost.done():
            self._lost.set_result(None)
        self._check_protocol(self._clock.now_ns())
        self._report_end(f"the connection broke ({exc or 'no close message'})", self._clock.now_ns())

    def _handle_frame(self, frame: Frame, recv_ns: int) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(frame.data)
            self._report_end(f"code {int(close.code)}{f', {close.reason!r}' if close.reason else ''}", recv_ns)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._parts, self._binary = [], frame.opcode is Opcode.BINARY
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._on_message(whole if self._binary else whole.decode("utf-8", "replace"), recv_ns)

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
        raise _connection_error(31923, f"{url!r} is not a ws:// or wss:// URL: {error}") from None
    protocol = ClientProtocol(uri, max_size=MAX_MESSAGE_BYTES)
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
        explained = _explain(url, error)
        if explained is None:
            raise
        raise explained from None
    return connection


async def check_listening(url: str) -> None:
    """Return if a server accepts connections at `url`, whatever it is; the connection is closed again at once.

    Raises:
        AgentError: no server does.
    """
    uri = parse_uri(url)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(uri.host, uri.port)
    except OSError as error:  # a timeout is one
        raise (_explain(url, error) or AgentError(str(error))) from None
    writer.close()


def _explain(url: str, error: BaseException) -> AgentError | None:
    """Return the error of a failed opening; None for an exception that has another cause."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            hint = {401: "; is TWILIO_AUTH_TOKEN right?", 403: "; is TWILIO_AUTH_TOKEN right?", 404: "; check its path"}
            return _connection_error(
                31920, f"{url} answered HTTP {status} to the WebSocket upgrade{hint.get(status, '')}"
            )
        case ssl.SSLError():
            return _connection_error(31902, f"TLS with {url} failed: {error.reason or error}; is it a wss:// server?")
        case TimeoutError():
            return _connection_error(31901, f"{url} did not answer within {CONNECT_TIMEOUT_S:g} s")
        case EOFError() | InvalidMessage(__cause__=EOFError()):
            return _connection_error(
                31903, f"{url} closed the connection before the upgrade; it is not a Twilio Media Streams agent"
            )
        case OSError():
            return _connection_error(
                31902,
                f"no connection to {url}: {_describe_os_error(error)}; is the agent running, and is the scheme right?",
            )
        case Exception():
            return _connection_error(31924, f"{url} is not a WebSocket server: {error}")
        case _:
            return None


def _describe_os_error(error: OSError) -> str:
    """Return what failed, without the address that asyncio puts into the text of its errors."""
    numbers = [error.errno] if error.errno else [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))]
    if isinstance(error, socket.gaierror) or not numbers:
        return error.strerror or str(error) or "closed in the handshake"
    return " and ".join(dict.fromkeys(os.strerror(number) for number in numbers)).lower()


def _connection_error(twilio_code: int, message: str) -> AgentError:
    return AgentError(f"{message} (Twilio {twilio_code})", code=f"{AgentError.code}.{twilio_code}")
