"""The agent's HTTP interface: voice webhook, media WebSocket, health and metrics."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

from fastapi import FastAPI, Request, Response, WebSocket

from turngap_agent.call import Agent
from turngap_agent.errors import ProtocolError
from turngap_agent.server.admission import NONCE_PARAMETER, Admission, RequestUrl
from turngap_agent.server.connections import REQUEST_WITHIN_S
from turngap_agent.server.stream import Stream
from turngap_agent.server.waiting_room import WaitingRoom
from turngap_agent.telemetry import metrics
from turngap_agent.telemetry.metrics import CallResult, LoopLag
from turngap_agent.telephony import MEDIA_PATH, VOICE_PATH
from turngap_agent.telephony.twiml import connect_stream, say_and_hang_up

MAX_FORM_BYTES = 65_536
METRICS_TOKEN = "TURNGAP_METRICS_TOKEN"
"""Where it is set, `/metrics` needs it as a bearer token; otherwise only this machine may read the page."""
_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
WAITING_STREAMS = 256
"""Sockets that have sent no `start`; the oldest makes room for more."""
_log = logging.getLogger("turngap.server")


def create_app(agent: Agent, admission: Admission, lag: LoopLag) -> FastAPI:
    """Return the ASGI application of one loaded agent."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sampler = asyncio.create_task(lag.run())
        yield
        sampler.cancel()

    waiting = WaitingRoom(WAITING_STREAMS)
    app = FastAPI(title="turngap agent", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post(VOICE_PATH)
    async def voice(request: Request) -> Response:
        url = _request_url(request)
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                body = await _read_form(request)
        except TimeoutError:
            return Response("the form did not come in time\n", 408, media_type="text/plain")
        if body is None:
            return Response("the form is too large\n", 413, media_type="text/plain")
        try:
            admission.check_webhook(url, body)
        except ProtocolError as error:
            _log.warning("webhook refused: %s", error)
            return Response("the Twilio signature is missing or wrong\n", 403, media_type="text/plain")
        if not url.names_a_host:
            return Response("the Host header is no host\n", 400, media_type="text/plain")
        if not admission.has_room:
            agent.metrics.count_call(CallResult.BUSY)
            return Response(say_and_hang_up(agent.profile.announcements.busy), media_type="application/xml")
        call_sid = dict(parse_qsl(body.decode(errors="replace"))).get("CallSid", "")
        parameters = {NONCE_PARAMETER: admission.new_nonce(call_sid)} if admission.signed else {}
        return Response(connect_stream(url.stream_url, parameters), media_type="application/xml")

    @app.websocket(MEDIA_PATH)
    async def media(websocket: WebSocket) -> None:
        try:
            admission.check_upgrade(_request_url(websocket))
        except ProtocolError as error:
            _log.warning("stream refused: %s", error)
            await _refuse(websocket, agent, CallResult.UNSIGNED, 403, "the Twilio signature is missing or wrong")
            return
        if admission.draining:
            await _refuse(websocket, agent, CallResult.BUSY, 503, "the agent is stopping; call again later")
            return
        # A place is taken by the `start` message: a socket alone keeps no caller out.
        await websocket.accept()
        await Stream(websocket, agent, admission, waiting).run()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "profile": agent.profile.name}

    @app.get("/readyz")
    async def readyz() -> Response:
        if admission.draining:
            return Response("stopping: no new calls\n", 503, media_type="text/plain")
        if agent.overseer.problem:
            return Response(f"{agent.overseer.problem}\n", 503, media_type="text/plain")
        return Response("ready\n", media_type="text/plain")

    @app.get("/metrics")
    async def prometheus(request: Request) -> Response:
        if not _may_read_metrics(request):
            return Response(
                f"metrics are for this machine, or with the token of {METRICS_TOKEN}\n", 403, media_type="text/plain"
            )
        return Response(agent.metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    return app


def _may_read_metrics(request: Request) -> bool:
    """Whether the request has the metrics' token or, where none is set, comes from this machine and no proxy.

    The Host has to be this machine's too: a page whose name was made to point here must not read it in a browser.
    """
    token = os.environ.get(METRICS_TOKEN)
    if token:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    client = request.client.host if request.client is not None else ""
    return _is_this_machine(client) and _is_this_machine(request.headers.get("host", ""))


def _is_this_machine(place: str) -> bool:
    """Whether a host, maybe with a port, is the loopback."""
    try:
        host = (urlsplit(f"//{place}").hostname or "") if place.count(":") < 2 or "[" in place else place
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _request_url(connection: Request | WebSocket) -> RequestUrl:
    # Not `connection.url`: it cannot be read where the Host header is "[", for example.
    scope, headers = connection.scope, {name.lower(): value for name, value in connection.headers.items()}
    return RequestUrl.read(scope["scheme"], scope["path"], scope["query_string"].decode("latin-1"), headers)


async def _read_form(request: Request) -> bytes | None:
    """Return the body, or None if it is larger than any of Twilio's webhooks."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            return None
    return body


async def _refuse(websocket: WebSocket, agent: Agent, result: CallResult, status: int, text: str) -> None:
    """Answer the upgrade with an HTTP error; Twilio reports it as 31920 and continues with the call's next verb."""
    agent.metrics.count_call(result)
    await websocket.send_denial_response(Response(f"{text}\n", status, media_type="text/plain"))
