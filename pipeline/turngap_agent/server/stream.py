"""One media stream: read Twilio's messages from a WebSocket and feed them to a call until either side ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from functools import partial

from starlette.websockets import WebSocket

from turngap_agent.call import Agent
from turngap_agent.call.announcements import Announcement
from turngap_agent.call.call import Call
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.turns import GivenUpError
from turngap_agent.clock import now_ns
from turngap_agent.errors import ProtocolError, TurngapError
from turngap_agent.inject.call_faults import CURRENT, CallFaults
from turngap_agent.replicas import session
from turngap_agent.server.admission import Admission
from turngap_agent.server.media_socket import INTERNAL, NORMAL, POLICY, TRY_AGAIN, UNSUPPORTED, CloseReason, MediaSocket
from turngap_agent.server.pace import InboundPace
from turngap_agent.server.waiting_room import WaitingRoom
from turngap_agent.telemetry.metrics import CallResult
from turngap_agent.telephony import SAMPLE_RATE, script
from turngap_agent.telephony.messages import (
    Clear,
    Connected,
    Dtmf,
    Inbound,
    InboundMark,
    InboundMedia,
    OutboundMark,
    OutboundMedia,
    Start,
    Stop,
)
from turngap_agent.telephony.parsing import parse_inbound
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tracing import Stage

START_WITHIN_S = 10.0
"""A socket that has not sent `start` by then is closed, so that it does not count as a call for longer."""
MESSAGES_BEFORE_START = 100
"""Twilio sends one, `connected`."""
LAST_WORDS_MARK = "turngap:last-words"
LAST_WORDS_GRACE_S = 1.0
"""How much longer than its audio an announcement may take to be played."""
WATCH_S = 1.0
"""How often the limits on a call's time are looked at."""
_log = logging.getLogger("turngap.stream")


class Stream:
    """One accepted WebSocket."""

    def __init__(self, websocket: WebSocket, agent: Agent, admission: Admission, waiting: WaitingRoom) -> None:
        self._agent, self._admission, self._waiting = agent, admission, waiting
        self._limits = agent.profile.limits
        self._socket = MediaSocket(websocket, self._limits.send_s)
        self._heard_ns = now_ns()
        self._ignored: Counter[str] = Counter()
        self._stream_sid = ""
        self._script: tuple[TurnScript, ...] = ()
        self._faults: CallFaults | None = None

    async def run(self) -> None:
        """Serve the stream to its end, and close the socket with a reason."""
        delay_ns = self._agent.injection.delay_ns(Stage.TRANSPORT_IN)
        async with contextlib.aclosing(self._socket.receive(delay_ns)) as messages:
            start = await self._start(messages)
            if isinstance(start, Start):
                self._agent.metrics.count_call(CallResult.ANSWERED)
                try:
                    reason = await self._converse(start, messages)
                finally:
                    self._admission.end_call()
            else:
                reason = start
        for kind, count in self._ignored.items():
            _log.warning("%s: %d messages ignored: %s", self._stream_sid or "stream without start", count, kind)
        if self._socket.stalled.done():
            self._agent.metrics.count_call(CallResult.STALLED)
        if reason is None:
            return
        if reason.announcement is not None:
            await self._announce(reason.announcement)
        if reason.reason:
            _log.warning("%s: closed: %s", self._stream_sid or "stream without start", reason.reason)
        await self._socket.close(reason)

    async def _start(self, messages: AsyncGenerator[tuple[int, str | None]]) -> Start | CloseReason | None:
        """Return the stream's `start`, why to close if there is no valid one, or None if the socket was closed."""
        try:
            async with asyncio.timeout(START_WITHIN_S) as deadline:
                self._waiting.enter(self, partial(end_now, deadline))
                count = 0
                async for _, text in messages:
                    if (count := count + 1) > MESSAGES_BEFORE_START:
                        self._agent.metrics.count_call(CallResult.REFUSED)
                        return CloseReason(POLICY, f"{count} messages, and no start message among them")
                    match self._parse(text):
                        case Start() as start:
                            return self._accept(start)
                        case None | Connected():
                            pass
                        case message:
                            self._ignore(f"{type(message).__name__} before start")
        except TimeoutError:
            self._agent.metrics.count_call(CallResult.REFUSED)
            return CloseReason(POLICY, "no start message in time")
        finally:
            self._waiting.leave(self)
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
            self._admission.check_nonce(start.custom_parameters, start.call_sid)
        except ProtocolError as error:
            self._agent.metrics.count_call(CallResult.UNSIGNED)
            return CloseReason(POLICY, str(error))
        try:
            self._faults = self._agent.injection.read_faults(start.custom_parameters)
            if self._agent.profile.weightless:
                self._script = script.parse_parameters(start.custom_parameters)
        except ProtocolError as error:
            self._agent.metrics.count_call(CallResult.REFUSED)
            return CloseReason(POLICY, str(error))
        self._stream_sid = start.stream_sid
        if not self._admission.start_call():
            self._agent.metrics.count_call(CallResult.BUSY)
            return CloseReason(TRY_AGAIN, "all lines are taken; call again later", Announcement.BUSY)
        return start

    async def _converse(self, start: Start, messages: AsyncGenerator[tuple[int, str | None]]) -> CloseReason | None:
        delay_ns = self._agent.injection.delay_ns(Stage.TRANSPORT_OUT)
        CURRENT.set(self._faults)
        session.CURRENT.set(start.call_sid)
        send = self._socket.send if self._faults is None else self._faults.watch(self._socket.send)
        outbound = OutboundAudio(start.stream_sid, send, self._agent.profile.barge_in, delay_ns)
        call = Call(self._agent, outbound, start.call_sid, self._script)
        _log.info("%s: call %s started", start.stream_sid, start.call_sid)
        working = asyncio.create_task(call.run())
        reading = asyncio.create_task(self._read(call, messages))
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((working, reading, watching, self._socket.stalled), return_when=asyncio.FIRST_COMPLETED)
            for ended in (reading, watching, self._socket.stalled):
                if ended.done():
                    return ended.result()
            return _close_after_error(working)
        finally:
            for task in (reading, working, watching):
                task.cancel()
            await asyncio.gather(reading, working, watching, return_exceptions=True)
            await call.close()

    async def _watch(self) -> CloseReason:
        """Return why the call has to end, once it has lasted too long or its line is dead."""
        limits, start_ns = self._limits, now_ns()
        self._heard_ns = start_ns
        while True:
            await asyncio.sleep(min(WATCH_S, limits.dead_line_s / 4, limits.call_s / 4))
            if now_ns() - start_ns > limits.call_s * 1e9:
                return CloseReason(NORMAL, f"the call lasted {limits.call_s:g} s", Announcement.TIME_LIMIT)
            if now_ns() - self._heard_ns > limits.dead_line_s * 1e9:
                return CloseReason(NORMAL, f"no audio came for {limits.dead_line_s:g} s", Announcement.DEAD_LINE)

    async def _announce(self, announcement: Announcement) -> None:
        """Say it, and return when it was played, or the socket is closed."""
        payloads = self._agent.announcements.get(announcement, ())
        await self._socket.send(Clear(self._stream_sid).to_json())
        for payload in payloads:
            await self._socket.send(OutboundMedia(self._stream_sid, payload).to_json())
        await self._socket.send(OutboundMark(self._stream_sid, LAST_WORDS_MARK).to_json())
        audio_s = sum(map(len, payloads)) / SAMPLE_RATE
        try:
            async with (
                asyncio.timeout(audio_s + LAST_WORDS_GRACE_S) as deadline,
                contextlib.aclosing(self._socket.receive()) as messages,
            ):
                self._waiting.enter(self, partial(end_now, deadline))
                async for _, text in messages:
                    match self._parse(text):
                        case InboundMark(name=name) if name == LAST_WORDS_MARK:
                            return
                        case Stop():
                            return
        except TimeoutError:
            _log.info("%s: the announcement's mark did not come back", self._stream_sid)
        finally:
            self._waiting.leave(self)

    async def _read(self, call: Call, messages: AsyncGenerator[tuple[int, str | None]]) -> CloseReason | None:
        """Feed the call until `stop` (a reason to close) or until the socket is closed (None)."""
        pace = InboundPace(self._limits.burst_s, now_ns())
        async for arrived_ns, text in messages:
            message = self._parse(text)
            audio_ms = 0.0
            if isinstance(message, InboundMedia):
                self._heard_ns = arrived_ns
                audio_ms = len(message.payload) * 1000 / SAMPLE_RATE
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


def end_now(deadline: asyncio.Timeout) -> None:
    """Let a wait end now; one that has just ended by itself is left alone: asyncio refuses to change it."""
    if not deadline.expired():
        deadline.reschedule(0)


def _close_after_error(working: asyncio.Task[None]) -> CloseReason:
    error = working.exception()
    if isinstance(error, GivenUpError):
        return CloseReason(NORMAL, str(error), Announcement.FAILING)
    if isinstance(error, TurngapError):
        _log.error("a call ended: %s", error)
    else:
        _log.error("a call ended by a defect of the agent", exc_info=error)
    return CloseReason(INTERNAL, "the agent cannot continue this call")
