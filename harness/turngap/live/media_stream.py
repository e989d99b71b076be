"""One Media Stream that Twilio opened to this host: sends messages in order, stamps received ones with their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from fastapi import WebSocket, WebSocketDisconnect
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import parsing
from turngap_agent.telephony.messages import Inbound

from turngap.clock import Clock

OnSent = Callable[[int], None]
"""Called with the time, in ns, at which the message was handed to the socket."""


class MediaStream:
    """A stream's socket; iterating over `messages` reads it until it is closed."""

    def __init__(self, socket: WebSocket, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._outgoing: asyncio.Queue[tuple[str, OnSent | None] | None] = asyncio.Queue()
        self.errors: list[str] = []
        """One line for each received message that could not be read or was refused."""

    def send(self, text: str, on_sent: OnSent | None = None) -> None:
        """Queue a message; messages are written in order, each as soon as the event loop runs."""
        self._outgoing.put_nowait((text, on_sent))

    def close(self) -> None:
        """Close the socket after all queued messages have been written."""
        self._outgoing.put_nowait(None)

    async def messages(self) -> AsyncIterator[tuple[Inbound, int]]:
        """Yield each message with the time it was read, in ns, until either side closes the socket."""
        writer = asyncio.create_task(self._write())
        try:
            while True:
                try:
                    text = await self._socket.receive_text()
                except (WebSocketDisconnect, RuntimeError, KeyError):
                    return
                arrival_ns = self._clock.now_ns()
                try:
                    message = parsing.parse_inbound(text)
                except ProtocolError as error:
                    self.errors.append(str(error))
                    continue
                yield message, arrival_ns
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        while (item := await self._outgoing.get()) is not None:
            text, on_sent = item
            if on_sent is not None:
                on_sent(self._clock.now_ns())
            try:
                await self._socket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                return
        try:
            await self._socket.close()
        except (WebSocketDisconnect, RuntimeError):
            return
