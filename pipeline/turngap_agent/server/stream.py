"""One media stream: read Twilio's messages from a WebSocket and feed them to a call until either side ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from turngap_agent.call import Agent
from turngap_agent.call.call import Call
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.clock import now_ns
from turngap_agent.errors import ProtocolError, TurngapError
from turngap_agent.inject import DelayLine
from turngap_agent.server.admission import Admission
from turngap_agent.server.pace import InboundPace
from turngap_agent.telemetry.metrics import CallResult
from turngap_agent.telephony import SAMPLE_RATE, script
from turngap_agent.telephony.messages import Connected, Dtmf, Inbound, InboundMark, InboundMedia, Start, Stop
from turngap_agent.telephony.parsing import parse_inbound
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage

START_WITHIN_S = 10.0
"""A socket that has not sent `start` by then is closed, so that it does not count as a call for longer."""
NORMAL, GOING_AWAY, UNSUPPORTED, POLICY, INTERNAL = 1000, 1001, 1003, 1008, 1011
_MAX_REASON_BYTES = 120
_GONE = (WebSocketDisconnect, RuntimeError)
"""What starlette raises for a closed socket, at the first message and at later ones."""

_log = logging.getLogger("turngap.stream")


@dataclass(frozen=True, slots=True)
class CloseReason:
    """How the agent closes the socket."""

    code: int = NORMAL
    reason: str = ""


class Stream:
    """One accepted WebSocket."""

    def __init__(self, websocket: WebSocket, agent: Agent, admission: Admission) -> None:
        self._websocket, self._agent, self._admission = websocket, agent, admission
        self._ignored: Counter[str] = Counter()
        self._stream_sid = ""
        self._script: tuple[TurnScript, ...] = ()

    async def run(self) -> None:
        """Serve the stream to its end, and close the socket with a reason."""
        delay_ns = self._agent.injection.delay_ns(Stage.TRANSPORT_IN)
        async with contextlib.aclosing(_receive(self._websocket, delay_ns)) as messages:
            start = await self._start(messages)
            if isinstance(start, Start):
                self._agent.metrics.count_call(CallResult.ANSWERED)
                reason = await self._converse(start, messages)
            else:
                reason = start
        for kind, count in self._ignored.items():
            _log.warning("%s: %d messages ignored: %s", self._stream_sid or "stream without start", count, kind)
        if reason is not None:
            await _close(self._websocket, reason)

    async def _start(self, messages: AsyncGenerator[tuple[int, str | None]]) -> Start | CloseReason | None:
        """Return the stream's `start`, why to close if there is no valid one, or None if the socket was closed."""
        try:
            async with asyncio.timeout(START_WITHIN_S):
                async for _, text in messages:
                    match self._parse(text):
                        case Start() as start:
                            return self._accept(start)
                        case None | Connected():
                            pass
                        case message:
                            self._ignore(f"{type(message).__name__} before start")
        except TimeoutError:
            self._agent.metrics.count_call(CallResult.REFUSED)
            return CloseReason(POLICY, f"no start message within {START_WITHIN_S:g} s")
        self._agent.metrics.count_call(CallResult.REFUSED)
        return None

    def _accept(self, start: Start) -> Start | CloseReason:
        media_format = (start.encoding, start.sample_rate, start.channels)
        if media_format != ("audio/x-mulaw", SAMPLE_RATE, 1):
            self._agent.metrics.count_call(CallResult.REFUSED)
            return CloseReason(
                UNSUPPORTED, f"media format {media_format} is not audio/x-mulaw, {SAMPLE_RATE} Hz, 1 channel"
            )
        try:
            self._admission.check_nonce(start.custom_parameters)
        except ProtocolError as error:
            self._agent.metrics.count_call(CallResult.UNSIGNED)
            return CloseReason(POLICY, str(error))
        if self._agent.profile.weightless:
            try:
                self._script = script.parse_parameters(start.custom_parameters)
            except ProtocolError as error:
                self._agent.metrics.count_call(CallResult.REFUSED)
                return CloseReason(POLICY, str(error))
        self._stream_sid = start.stream_sid
        return start

    async def _converse(self, start: Start, messages: AsyncGenerator[tuple[int, str | None]]) -> CloseReason | None:
        delay_ns = self._agent.injection.delay_ns(Stage.TRANSPORT_OUT)
        outbound = OutboundAudio(start.stream_sid, self._send, self._agent.profile.barge_in, delay_ns)
        call = Call(self._agent, outbound, start.call_sid, self._script)
        _log.info("%s: call %s started", start.stream_sid, start.call_sid)
        working = asyncio.create_task(call.run())
        reading = asyncio.create_task(self._read(call, messages))
        try:
            await asyncio.wait((working, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            return _close_after_error(working)
        finally:
            for task in (reading, working):
                task.cancel()
            await asyncio.gather(reading, working, return_exceptions=True)
            await call.close()

    async def _send(self, text: str) -> None:
        # The reader notices a closed socket; what is sent until then is lost, as on any line.
        with contextlib.suppress(*_GONE):
            await self._websocket.send_text(text)

    async def _read(self, call: Call, messages: AsyncGenerator[tuple[int, str | None]]) -> CloseReason | None:
        """Feed the call until `stop` (a reason to close) or until the socket is closed (None)."""
        pace = InboundPace(self._agent.profile.limits.burst_s, now_ns())
        async for arrived_ns, text in messages:
            message = self._parse(text)
            audio_ms = len(message.payload) * 1000 / SAMPLE_RATE if isinstance(message, InboundMedia) else 0.0
            if excess := pace.excess(audio_ms, now_ns()):
                self._agent.metrics.count_call(CallResult.FLOODED)
                return CloseReason(POLICY, excess)
            if message is None:
                continue
            if not isinstance(message, (Connected, Start)) and message.stream_sid != self._stream_sid:
                self._ignore("wrong streamSid")
                continue
            match message:
                case InboundMedia(track="inbound"):
                    call.hear(message, arrived_ns)
                case InboundMark():
                    if not call.take_echo(message.name):
                        _log.debug("%s: mark %s was never sent", self._stream_sid, message.name)
                case Dtmf():
                    _log.info("%s: key %s pressed; no key has a meaning here", self._stream_sid, message.digit)
                case Stop():
                    return CloseReason()
                case _:
                    self._ignore(f"unexpected {type(message).__name__}")
        return None

    def _parse(self, text: str | None) -> Inbound | None:
        if text is None:
            self._ignore("binary frame")
            return None
        try:
            return parse_inbound(text)
        except ProtocolError as error:
            self._ignore("not Media Streams", detail=str(error))
            return None

    def _ignore(self, kind: str, detail: str = "") -> None:
        """Ignore a message: the first of a kind is logged at once, the others are counted."""
        if kind not in self._ignored:
            _log.warning("%s: message ignored: %s %s", self._stream_sid or "stream without start", kind, detail)
        self._ignored[kind] += 1
        self._agent.metrics.count_ignored()


def _close_after_error(working: asyncio.Task[None]) -> CloseReason:
    error = working.exception()
    if isinstance(error, TurngapError):
        _log.error("a call ended: %s", error)
    else:
        _log.error("a call ended by a defect of the agent", exc_info=error)
    return CloseReason(INTERNAL, "the agent cannot continue this call")


async def _receive(websocket: WebSocket, delay_ns: int) -> AsyncGenerator[tuple[int, str | None]]:
    """Yield text messages (None for a binary one) with the time each was read, until the socket is closed."""
    if not delay_ns:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            yield now_ns(), message.get("text")
        return
    arrived: asyncio.Queue[str | WebSocketDisconnect | None] = asyncio.Queue()
    line = DelayLine(delay_ns, arrived.put)

    async def read() -> None:
        while (message := await websocket.receive())["type"] == "websocket.receive":
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


async def _close(websocket: WebSocket, closing: CloseReason) -> None:
    reason = closing.reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    if reason:
        _log.warning("stream closed: %s", closing.reason)
    with contextlib.suppress(*_GONE):
        await websocket.close(closing.code, reason)
