"""The WebSocket of one stream: reads with times, writes with patience, and closes with a reason."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from turngap_agent.call.announcements import Announcement
from turngap_agent.clock import now_ns
from turngap_agent.inject import DelayLine

NORMAL, GOING_AWAY, UNSUPPORTED, POLICY, INTERNAL, TRY_AGAIN = 1000, 1001, 1003, 1008, 1011, 1013
_MAX_REASON_BYTES = 120
_GONE = (WebSocketDisconnect, RuntimeError)
"""What starlette raises for a closed socket, at the first message and at later ones."""


@dataclass(frozen=True, slots=True)
class CloseReason:
    """How the agent closes the socket."""

    code: int = NORMAL
    reason: str = ""
    announcement: Announcement | None = None
    """What the caller hears before that."""


class MediaSocket:
    """An accepted WebSocket."""

    def __init__(self, websocket: WebSocket, send_s: float) -> None:
        """`send_s`: how long the other side may leave a message unread."""
        self._websocket, self._send_s = websocket, send_s
        self.stalled: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()
        """Done once the other side has not read a message in time; nothing more is sent then."""

    async def receive(self, delay_ns: int = 0) -> AsyncGenerator[tuple[int, str | None]]:
        """Yield text messages (None for a binary one) with the time each was read, until the socket is closed."""
        if not delay_ns:
            while (message := await self._websocket.receive())["type"] == "websocket.receive":
                yield now_ns(), message.get("text")
            return
        arrived: asyncio.Queue[str | WebSocketDisconnect | None] = asyncio.Queue()
        line = DelayLine(delay_ns, arrived.put)

        async def read() -> None:
            while (message := await self._websocket.receive())["type"] == "websocket.receive":
                await line.put(message.get("text"))
            arrived.put_nowait(WebSocketDisconnect())

        tasks = [asyncio.create_task(read()), asyncio.create_task(line.run())]
        try:
            while not isinstance(text := await arrived.get(), WebSocketDisconnect):
                yield now_ns(), text
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, text: str) -> None:
        """Send one message; on a closed socket it is lost, as on any line: whoever reads notices that."""
        if self.stalled.done():
            return
        try:
            async with asyncio.timeout(self._send_s):
                with contextlib.suppress(*_GONE):
                    await self._websocket.send_text(text)
        except TimeoutError:
            if not self.stalled.done():
                self.stalled.set_result(CloseReason(POLICY, "what is sent is not read"))

    async def close(self, closing: CloseReason) -> None:
        """Close it; a side that does not read does not answer the close either, and is not waited for."""
        reason = closing.reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        with contextlib.suppress(TimeoutError, *_GONE):
            async with asyncio.timeout(self._send_s):
                await self._websocket.close(closing.code, reason)
