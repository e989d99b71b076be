"""One Media Stream that Twilio opened to us: messages out in order, messages in with the time they were read."""

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
    """A stream's socket; `run` reads it until it is closed."""

    def __init__(self, socket: WebSocket, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._out: asyncio.Queue[tuple[str, OnSent | None] | None] = asyncio.Queue()
        self.faults: list[str] = []
        """What Twilio sent and we could not read."""

    def send(self, text: str, on_sent: OnSent | None = None) -> None:
        """Write a message as soon as the loop comes to it; after the others."""
        self._out.put_nowait((text, on_sent))

    def close(self) -> None:
        """Close the socket when what was sent before has left."""
        self._out.put_nowait(None)

    async def messages(self) -> AsyncIterator[tuple[Inbound, int]]:
        """What comes, each with the time it was read, until the socket is closed by either side."""
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
                except ProtocolError as fault:
                    self.faults.append(str(fault))
                    continue
                yield message, arrival_ns
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        while (item := await self._out.get()) is not None:
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
