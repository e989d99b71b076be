"""The agent's HTTP interface: voice webhook, media WebSocket, health and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response, WebSocket

from turngap_agent.call import Agent
from turngap_agent.errors import ProtocolError
from turngap_agent.server.admission import NONCE_PARAMETER, Admission, RequestUrl
from turngap_agent.server.stream import Stream
from turngap_agent.telemetry import metrics
from turngap_agent.telemetry.metrics import CallResult, LoopLag
from turngap_agent.telephony import MEDIA_PATH, VOICE_PATH
from turngap_agent.telephony.twiml import connect_stream

MAX_FORM_BYTES = 65_536
_log = logging.getLogger("turngap.server")


def create_app(agent: Agent, admission: Admission, lag: LoopLag) -> FastAPI:
    """Return the ASGI application of one loaded agent."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sampler = asyncio.create_task(lag.run())
        yield
        sampler.cancel()

    app = FastAPI(title="turngap agent", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post(VOICE_PATH)
    async def voice(request: Request) -> Response:
        url = _request_url(request)
        body = await _read_form(request)
        if body is None:
            return Response("the form is too large\n", 413, media_type="text/plain")
        try:
            admission.check_webhook(url, body)
        except ProtocolError as error:
            _log.warning("webhook refused: %s", error)
            return Response("the Twilio signature is missing or wrong\n", 403, media_type="text/plain")
        parameters = {NONCE_PARAMETER: admission.new_nonce()} if admission.signed else {}
        return Response(connect_stream(url.stream_url, parameters), media_type="application/xml")

    @app.websocket(MEDIA_PATH)
    async def media(websocket: WebSocket) -> None:
        try:
            admission.check_upgrade(_request_url(websocket))
        except ProtocolError as error:
            _log.warning("stream refused: %s", error)
            await _refuse(websocket, agent, CallResult.UNSIGNED, 403, "the Twilio signature is missing or wrong")
            return
        if not admission.start_call():
            _log.warning("stream refused: all %d calls are taken", admission.active)
            await _refuse(websocket, agent, CallResult.BUSY, 503, "too many calls; call again later")
            return
        try:
            await websocket.accept()
            await Stream(websocket, agent, admission).run()
        finally:
            admission.end_call()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "profile": agent.profile.name}

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(agent.metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    return app


def _request_url(connection: Request | WebSocket) -> RequestUrl:
    url, headers = connection.url, {name.lower(): value for name, value in connection.headers.items()}
    return RequestUrl.read(url.scheme, url.path, url.query, headers)


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
