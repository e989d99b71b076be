"""The server that Twilio calls: the two streams, the agent number's webhook, status callbacks, and the preflight token.

Everything but the preflight token needs Twilio's signature, and each stream a nonce that opens it once. The signed URL
is the public one, as in the TwiML; headers that proxies add are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from turngap_agent.errors import UsageError
from turngap_agent.telephony import signature
from turngap_agent.telephony.messages import Inbound, Start
from turngap_agent.telephony.twiml import connect_stream

from turngap.clock import Clock
from turngap.live.call_state import NONCE, CallState
from turngap.live.media_stream import MediaStream

CALLER, AGENT, VOICE = "/caller", "/agent", "/agent/voice"
STATUS, STREAM_STATUS, AMD = "/status", "/stream-status", "/answered-by"
PREFLIGHT = "/turngap/preflight"
MAX_FORM_BYTES = 65_536


class LiveServer:
    """The server; `call` is the current call, or None between calls: then every stream is refused."""

    def __init__(self, public_url: str, auth_token: str, clock: Clock) -> None:
        self.public_url = public_url
        self.call: CallState | None = None
        self.preflight_token = secrets.token_urlsafe(24)
        """The text that the preflight check must find behind the public URL."""
        self._token = auth_token
        self._clock = clock
        self.refusals: list[str] = []

    def stream_url(self, path: str) -> str:
        """Return the public WebSocket URL of a stream."""
        return self.public_url.replace("http", "ws", 1) + path

    def caller_twiml(self, call: CallState) -> str:
        """Return the TwiML for the leg that dials."""
        return connect_stream(self.stream_url(CALLER), {NONCE: call.caller_nonce}, self.public_url + STREAM_STATUS)

    def app(self) -> FastAPI:
        """Return the ASGI application."""
        app = FastAPI(title="turngap smoke", docs_url=None, redoc_url=None, openapi_url=None)

        @app.get(PREFLIGHT)
        async def preflight() -> Response:
            return Response(self.preflight_token, media_type="text/plain")

        @app.websocket(PREFLIGHT)
        async def preflight_stream(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text(self.preflight_token)
            await websocket.close()

        @app.post(VOICE)
        async def voice(request: Request) -> Response:
            form = await self._form(request, VOICE)
            call = self.call
            if form is None or call is None or call.agent is None:
                return _refusal()
            call.voice_requests += 1
            parameters = {NONCE: call.new_agent_nonce()}
            twiml = connect_stream(self.stream_url(AGENT), parameters, self.public_url + STREAM_STATUS)
            return Response(twiml, media_type="application/xml")

        @app.post(STATUS)
        @app.post(STREAM_STATUS)
        @app.post(AMD)
        async def status(request: Request) -> Response:
            form = await self._form(request, request.url.path)
            if form is None:
                return _refusal()
            if self.call is not None:
                self.call.apply_callback(form)
            return Response(status_code=204)

        @app.websocket(CALLER)
        async def caller(websocket: WebSocket) -> None:
            await self._stream(websocket, CALLER)

        @app.websocket(AGENT)
        async def agent(websocket: WebSocket) -> None:
            await self._stream(websocket, AGENT)

        return app

    async def _stream(self, websocket: WebSocket, path: str) -> None:
        call = self.call
        leg = None if call is None else call.caller if path == CALLER else call.agent
        if call is None or leg is None or not self._signed(self.stream_url(path), {}, websocket.headers):
            self.refusals.append(
                f"a stream at {path} was refused: no call is under way, or Twilio's signature is wrong"
            )
            await websocket.close(4403)
            return
        await websocket.accept()
        await leg.serve(_AdmittedStream(websocket, self._clock, call, agent=path == AGENT))

    async def _form(self, request: Request, path: str) -> dict[str, str] | None:
        """Return a webhook's form; None if it is too long or not signed by Twilio."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_FORM_BYTES:
                return None
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if not self._signed(self.public_url + path, form, request.headers):
            self.refusals.append(
                f"a webhook request at {path} was refused: Twilio's signature is wrong; is TWILIO_AUTH_TOKEN right?"
            )
            return None
        return form

    def _signed(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        signed = headers.get(signature.HEADER, "")
        algorithm = signature.parse_algorithm(headers.get(signature.SETTINGS_HEADER))
        return signature.is_valid(self._token, url, form.items(), signed, algorithm)


class _AdmittedStream(MediaStream):
    """A stream whose `start` must contain the nonce of the call; otherwise all its messages are dropped."""

    def __init__(self, websocket: WebSocket, clock: Clock, call: CallState, *, agent: bool) -> None:
        super().__init__(websocket, clock)
        self._call = call
        self._agent = agent

    async def messages(self) -> AsyncIterator[tuple[Inbound, int]]:
        """Yield messages from an admitted `start` on."""
        admitted = False
        async for message, arrival_ns in super().messages():
            if isinstance(message, Start):
                admitted = self._call.accept_nonce(message.custom_parameters.get(NONCE, ""), agent=self._agent)
                if not admitted:
                    self.errors.append("a stream without the nonce of this call was refused")
                    self.close()
            if admitted:
                yield message, arrival_ns


@asynccontextmanager
async def serve_app(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on `listener` inside the block."""
    server = _Server(app)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await asyncio.wait({serving, ready := asyncio.create_task(server.ready.wait())}, return_when="FIRST_COMPLETED")
        ready.cancel()
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UsageError: the port is in use, or the address is not this machine's.
    """
    # The protocol is given by number: asyncio sets TCP_NODELAY only on sockets that name it.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--port {port}: can't listen at {host} ({error.strerror or error}); choose another port, and forward the "
            "public URL to it"
        ) from None
    return listener


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the command and sets `ready` when it serves."""

    def __init__(self, app: FastAPI) -> None:
        self.ready = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,
                ws_per_message_deflate=False,  # μ-law audio hardly compresses, and trying costs time on every message
                ws_ping_interval=None,
                access_log=False,
                log_config=None,
                log_level="critical",
                timeout_graceful_shutdown=1,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then set `ready`."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


def _refusal() -> Response:
    return Response("refused\n", 403, media_type="text/plain")
