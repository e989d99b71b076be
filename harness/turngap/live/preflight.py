"""Checks before dialling that the public URL reaches this very process, by HTTP and by WebSocket."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from turngap_agent.errors import AgentError, UsageError

from turngap.caller.connection import Message, open_connection
from turngap.clock import Clock
from turngap.live.server import PREFLIGHT, LiveServer

TIMEOUT_S = 10.0
HOW = (
    "forward one to this machine with a tunnel that carries WebSockets (`ngrok http 8765`, `cloudflared tunnel --url "
    "http://127.0.0.1:8765`) or a reverse proxy, and pass its https URL as --public-url"
)


def parse_public_url(url: str | None, *, fake: bool = False) -> str:
    """Return the public URL without a trailing slash.

    Raises:
        UsageError: it is missing, or Twilio could not use it.
    """
    if not url:
        raise UsageError(f"--public-url is missing: Twilio must reach this machine; {HOW}")
    parts = urlsplit(url.rstrip("/"))
    try:
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.scheme not in (("http", "https") if fake else ("https",)):
        raise UsageError("--public-url: expected https://HOST, as Twilio opens only wss streams; " + HOW)
    if parts.path or parts.query or parts.fragment or parts.username:
        raise UsageError("--public-url: expected https://HOST without a path: the streams are at its root")
    return url.rstrip("/")


async def check_public_url(server: LiveServer, clock: Clock) -> None:
    """Fetch the server's preflight token through its public URL, by HTTP and by WebSocket.

    Raises:
        UsageError: the public URL does not answer, or something else answers there.
    """
    try:
        token = await asyncio.to_thread(_get, server.public_url + PREFLIGHT)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(f"the public URL does not reach this machine ({reason}); {HOW}") from None
    if token != server.preflight_token:
        raise UsageError(f"the public URL leads to something other than this process; {HOW}")
    received: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_message(message: Message, at_ns: int) -> None:
        if not received.done():
            received.set_result(str(message))

    def on_closed(reason: str, at_ns: int) -> None:
        if not received.done():
            received.set_result("")

    try:
        connection = await open_connection(
            server.stream_url(PREFLIGHT), {}, clock=clock, on_message=on_message, on_closed=on_closed
        )
    except AgentError as error:
        code = error.code.removeprefix("agent.")
        raise UsageError(f"the public URL does not accept WebSockets (Twilio {code}); {HOW}") from None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            token = await received
    except TimeoutError:
        token = ""
    finally:
        await connection.close()
    if token != server.preflight_token:
        raise UsageError(f"the public URL does not carry WebSocket messages; {HOW}")


def _get(url: str) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "turngap", "ngrok-skip-browser-warning": "1"})
    handlers = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname == "127.0.0.1" else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as response:
            text: str = response.read(4096).decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError as error:
        raise OSError(f"HTTP {error.code}") from None
