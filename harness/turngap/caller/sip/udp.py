"""A UDP socket for SIP messages, bound before it is named in any of them. Imports `aiosipua`, an extra.

The library's own one expects `asyncio.DatagramTransport`, which Python 3.11's is not.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from aiosipua import SipRequest, SipResponse
from aiosipua.transport import SipTransport


class UdpSocket(SipTransport):
    """One datagram is one message."""

    _socket: Any = None

    @classmethod
    async def bind(cls, host: str) -> Self:
        """Return a socket at a free port of that address of ours."""
        own = cls()
        own._socket, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Reader(own), local_addr=(host, 0)
        )
        own.local_addr = own._socket.get_extra_info("sockname")[:2]
        return own

    async def start(self) -> None:
        """Nothing: it is bound."""

    def send(self, message: SipRequest | SipResponse, addr: tuple[str, int]) -> None:
        """Send a message."""
        if self._socket is not None:
            self._socket.sendto(bytes(message), addr)

    async def stop(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            await asyncio.sleep(0)  # asyncio closes a socket in the loop's next turn


class _Reader(asyncio.DatagramProtocol):
    def __init__(self, owner: UdpSocket) -> None:
        self._owner = owner

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._owner._dispatch(data, (str(addr[0]), int(addr[1])))
