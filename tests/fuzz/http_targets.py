"""The target of HTTP: requests of any shape to the agent's server, signed and unsigned, without a socket between."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from turngap_agent import profile
from turngap_agent.deadlines import Overseer
from turngap_agent.server.admission import Admission
from turngap_agent.server.app import create_app
from turngap_agent.telemetry.metrics import LoopLag, Metrics

from tests.fuzz.target import Target

TOKEN = "0123456789abcdef0123456789abcdef"


@functools.cache
def make_app(*, signed: bool) -> Any:
    """Return the application of an agent that answers no calls."""
    lag = LoopLag()
    metrics = Metrics(lag, lambda: 0, lambda: 0)
    agent: Any = SimpleNamespace(
        profile=profile.load("scripted"), metrics=metrics, announcements={}, overseer=Overseer()
    )
    return create_app(agent, Admission(2, TOKEN if signed else None), lag)


def _read(data: bytes, _: Path) -> None:
    """`METHOD PATH?QUERY`, a header a line, an empty line, the body: as it would be after the HTTP parser."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [tuple(line.split(b":", 1)) for line in lines if b":" in line]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode("latin-1").upper() or "GET",
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.strip().lower(), value.strip()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    for signed in (True, False):
        status = asyncio.run(_ask(make_app(signed=signed), dict(scope), body))
        assert status < 500, f"HTTP {status}"


async def _ask(app: Any, scope: dict[str, Any], body: bytes) -> int:
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(next(message["status"] for message in sent if message["type"] == "http.response.start"))


def _seeds() -> Sequence[bytes]:
    return [
        b"POST /twilio/voice?a=b\nhost: agent.example:443\nx-forwarded-proto: https\nx-twilio-signature: AAAA\n"
        b"content-type: application/x-www-form-urlencoded\n\nCallSid=CA1&From=%2B15550100&Called=",
        b"GET /metrics\nhost: 127.0.0.1:8080\nauthorization: Bearer x\n\n",
        b"POST /twilio/voice\nhost: agent.example\n\nCallSid=CA1",
        b"GET /healthz\nhost: a\n\n",
        b"GET /readyz\nhost: a\n\n",
        b"GET /twilio/media\nhost: a\nupgrade: websocket\nconnection: upgrade\n\n",
    ]


HTTP_TARGETS = (Target("http", "requests to the agent's server", _read, _seeds),)
