"""Before anything is dialled: does the public URL reach this very process, by HTTP and by WebSocket?"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from turngap_agent.errors import AgentError, UsageError

from turngap.caller.connection import open_connection
from turngap.clock import Clock
from turngap.live.server import PREFLIGHT, LiveServer

TIMEOUT_S = 10.0
HOW = (
    "forward one to this machine with a tunnel that passes WebSockets (`ngrok http 8765`, `cloudflared tunnel --url "
    "http://127.0.0.1:8765`) or a reverse proxy, and give its https URL as --public-url"
)


def parse_public_url(url: str | None, *, fake: bool = False) -> str:
    """The public URL without its last slash.

    Raises:
        UsageError: there is none, or Twilio could not use it.
    """
    if not url:
        raise UsageError(f"--public-url is missing: Twilio has to reach this machine; {HOW}")
    parts = urlsplit(url.rstrip("/"))
    try:
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or parts.scheme not in (("http", "https") if fake else ("https",)):
        raise UsageError("--public-url: expected https://HOST, as Twilio opens wss streams only; " + HOW)
    if parts.path or parts.query or parts.fragment or parts.username:
        raise UsageError("--public-url: expected https://HOST and nothing after it: the streams are at its root")
    return url.rstrip("/")


async def check(server: LiveServer, clock: Clock) -> None:
    """Fetch our own word through the public URL.

    Raises:
        UsageError: something else, or nothing, is there.
    """
    try:
        found = await asyncio.to_thread(_get, server.public_url + PREFLIGHT)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "reason", fault)
        raise UsageError(f"the public URL does not reach this machine ({reason}); {HOW}") from None
    if found != server.preflight_token:
        raise UsageError(f"behind the public URL is something else than this process; {HOW}")
    word: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(message: str | bytes, at_ns: int) -> None:
        if not word.done():
            word.set_result(str(message))

    def closed(reason: str, at_ns: int) -> None:
        if not word.done():
            word.set_result("")

    try:
        connection = await open_connection(
            server.stream_url(PREFLIGHT), {}, clock=clock, on_message=heard, on_closed=closed
        )
    except AgentError as fault:
        raise UsageError(f"the public URL passes no WebSocket ({str(fault).split(':')[0]}); {HOW}") from None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await word
    except TimeoutError:
        answer = ""
    finally:
        await connection.close()
    if answer != server.preflight_token:
        raise UsageError(f"the public URL passes no WebSocket messages; {HOW}")


def _get(url: str) -> str:
    asked = urllib.request.Request(url, headers={"User-Agent": "turngap", "ngrok-skip-browser-warning": "1"})
    handlers = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname == "127.0.0.1" else []
    try:
        with urllib.request.build_opener(*handlers).open(asked, timeout=TIMEOUT_S) as answer:
            text: str = answer.read(4096).decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError as fault:
        raise OSError(f"HTTP {fault.code}") from None
