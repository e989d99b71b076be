"""Connections of the HTTP server: a request has to come whole within a time, and few may be waited for at once.

uvicorn limits how long a connection may be idle after a response, not how long it may take to send a request.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from turngap_agent.server.waiting_room import WaitingRoom

REQUEST_WITHIN_S = 10.0
"""The head of a request, and its form, have to come within this time."""
WAITING_CONNECTIONS = 256
"""More are not waited for: the oldest is closed. Few enough for a process's usual 1,024 descriptors."""


def make_http_protocol() -> type[HttpToolsProtocol]:
    """Return uvicorn's HTTP protocol with a waiting room for the connections of one server."""
    room = WaitingRoom(WAITING_CONNECTIONS)

    class PunctualHttpProtocol(HttpToolsProtocol):
        """Closes a connection whose request does not come in time."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self._deadline is None and self._expects_request():
                self._wait()
            super().data_received(data)
            if not self._expects_request():
                self._stop_waiting()

        def handle_websocket_upgrade(self) -> None:
            self._stop_waiting()
            super().handle_websocket_upgrade()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _expects_request(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            room.enter(self, self.transport.abort)
            self._deadline = self.loop.call_later(REQUEST_WITHIN_S, self.transport.abort)

        def _stop_waiting(self) -> None:
            room.leave(self)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return PunctualHttpProtocol
