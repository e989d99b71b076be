"""One call of a fake Twilio, from `queued` to its end: callbacks, both legs, the bridge between them, the recording."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from turngap_agent.errors import AgentError, ProtocolError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.live.fake import webhooks
from turngap.live.fake.bridge import Bridge
from turngap.live.fake.call_parties import CallParty, StreamParty, TelephoneParty
from turngap.live.fake.settings import FakeBehaviour, FakeSettings
from turngap.live.responders import FixedDelayResponder
from turngap.model.records import Pcm16

FINAL_STATUSES = ("completed", "busy", "failed", "no-answer", "canceled")


@dataclass(slots=True)
class Recording:
    """The audio of a finished call."""

    sid: str
    call_sid: str
    wav: bytes


@dataclass(slots=True)
class FakeCall:
    """A call and its state; `run` takes it from start to end."""

    settings: FakeSettings
    form: dict[str, list[str]]
    clock: Clock
    scheduler: Scheduler
    sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    status: str = "queued"
    answered_by: str | None = None
    notifications: list[dict[str, str]] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    """Every status that it had, for tests."""
    created: str = ""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _final_status: str = "completed"
    _broken: bool = False

    def __post_init__(self) -> None:
        self.created = _format_now(self.clock)

    def parameter(self, name: str, default: str = "") -> str:
        """Return a parameter of the `create` request."""
        return self.form.get(name, [default])[0]

    def end(self, status: str = "completed") -> None:
        """End the call."""
        if not self._ended.is_set():
            self._final_status = status
            self._ended.set()

    async def run(self) -> None:
        """Run the call from `queued` to its end."""
        await self._set_status("initiated")
        await self._wait(self.settings.ring_s / 2)
        await self._set_status("ringing")
        await self._wait(self.settings.ring_s / 2)
        behaviour = self.settings.behaviour
        if self._ended.is_set():
            await self._set_status("canceled")
        elif behaviour in (FakeBehaviour.BUSY, FakeBehaviour.NO_ANSWER, FakeBehaviour.FAILED):
            await self._set_status(str(behaviour))
        else:
            await self._set_status("in-progress")
            await self._talk()
            await self._set_status(self._final_status)

    def json(self) -> dict[str, Any]:
        """Return the REST resource."""
        account = self.settings.account_sid
        return {
            "sid": self.sid,
            "account_sid": account,
            "to": self.parameter("To"),
            "from": self.parameter("From"),
            "status": self.status,
            "answered_by": self.answered_by,
            "direction": "outbound-api",
            "date_created": self.created,
            "uri": f"/2010-04-01/Accounts/{account}/Calls/{self.sid}.json",
            "subresource_uris": {},
        }

    async def _talk(self) -> None:
        limit_s = float(self.parameter("TimeLimit", "14400"))
        ends_early = self.settings.behaviour in (FakeBehaviour.ENDED, FakeBehaviour.DROPPED)
        limit = asyncio.create_task(
            self._end_after(min(limit_s, self.settings.ended_after_s) if ends_early else limit_s)
        )
        instruction = webhooks.StreamInstruction("", {}, "")
        parties: list[CallParty] = []
        bridge: Bridge | None = None
        try:
            instruction = webhooks.parse_stream_twiml(self.parameter("Twiml"))
            parties.append(await self._connect_agent())
            parties.append(await self._connect_stream(instruction, self.sid))
            settings = self.settings
            bridge = Bridge(
                parties[1], parties[0], settings.uplink, settings.downlink, clock=self.clock, scheduler=self.scheduler,
                seed=f"{settings.seed}:{self.sid}", announced=settings.trial,
            )  # fmt: skip
            await self._detect_machine()
            await self._ended.wait()
        except (AgentError, ProtocolError) as error:
            code = error.code.rpartition(".")[2]
            code = code if code.isdigit() else "31902"
            self.warn(int(code), str(error))
            await self._report_stream_error(instruction, code, str(error))
        finally:
            limit.cancel()
            if bridge is not None:
                bridge.stop()
                if self.parameter("Record").lower() == "true":
                    self._record(bridge.recording())
            for party in parties:
                await party.stop(broken=self._broken)

    async def _connect_agent(self) -> CallParty:
        """Connect the number that was dialled.

        Raises:
            AgentError, ProtocolError: it can't be connected.
        """
        settings = self.settings
        if self.parameter("To") != settings.agent_number:
            telephone = TelephoneParty(FixedDelayResponder(settings.agent_ms, self.scheduler), self.clock)
            await telephone.pick_up()
            return telephone
        if not settings.voice_url:
            raise webhooks.twilio_error(11200, "the number has no voice URL")
        child = "CA" + secrets.token_hex(16)
        form = {
            "AccountSid": settings.account_sid,
            "CallSid": child,
            "From": self.parameter("From"),
            "To": self.parameter("To"),
            "CallStatus": "ringing",
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }
        return await self._connect_stream(
            webhooks.parse_stream_twiml(await webhooks.post_form(settings.voice_url, form, settings.auth_token)), child
        )

    async def _connect_stream(self, instruction: webhooks.StreamInstruction, call_sid: str) -> StreamParty:
        party = StreamParty(self.clock, self.scheduler, self.warn)
        await party.open(
            instruction.url,
            instruction.parameters,
            token=self.settings.auth_token,
            account_sid=self.settings.account_sid,
            call_sid=call_sid,
            on_closed=self._on_server_closed,
        )
        await self._report_stream_event(instruction, call_sid, party.stream_sid, "stream-started")
        return party

    def _on_server_closed(self, reason: str) -> None:
        """End the call, as its TwiML ends after `<Connect>`; warn if the stream was not closed with code 1000."""
        if not reason.startswith("code 1000"):
            self.warn(31921, reason)
        self.end()

    async def _detect_machine(self) -> None:
        if self.parameter("MachineDetection"):
            self.answered_by = "machine_start" if self.settings.behaviour is FakeBehaviour.VOICEMAIL else "human"
            if url := self.parameter("AsyncAmdStatusCallback"):
                await self._post(url, {"CallSid": self.sid, "AnsweredBy": self.answered_by})

    def warn(self, code: int, text: str) -> None:
        """Add a notification for an error or a warning, once for each code."""
        if not any(notification["error_code"] == str(code) for notification in self.notifications):
            self.notifications.append({"error_code": str(code), "message_text": text})

    async def _report_stream_error(self, instruction: webhooks.StreamInstruction, code: str, text: str) -> None:
        if instruction.status_callback:
            form = {"StreamEvent": "stream-error", "StreamErrorCode": code, "StreamError": text, "CallSid": self.sid}
            await self._post(instruction.status_callback, form)

    async def _report_stream_event(
        self, instruction: webhooks.StreamInstruction, call_sid: str, stream_sid: str, event: str
    ) -> None:
        if instruction.status_callback:
            form = {
                "StreamEvent": event,
                "StreamSid": stream_sid,
                "CallSid": call_sid,
                "AccountSid": self.settings.account_sid,
                "Timestamp": _format_now(self.clock),
            }
            await self._post(instruction.status_callback, form)

    async def _set_status(self, status: str) -> None:
        self.status = status
        self.statuses.append(status)
        url = self.parameter("StatusCallback")
        event = {"in-progress": "answered"}.get(status, "completed" if status in FINAL_STATUSES else status)
        if url and event in self.form.get("StatusCallbackEvent", ["completed"]):
            form = {"CallSid": self.sid, "CallStatus": status, "AccountSid": self.settings.account_sid}
            await self._post(url, form | {"To": self.parameter("To"), "From": self.parameter("From")})

    async def _post(self, url: str, form: dict[str, str]) -> None:
        with contextlib.suppress(ProtocolError):  # Twilio ignores a failed callback
            await webhooks.post_form(url, form, self.settings.auth_token)

    async def _end_after(self, seconds: float) -> None:
        await self.clock.sleep_ns(round(seconds * 1e9))
        self._broken = self.settings.behaviour is FakeBehaviour.DROPPED
        self.end()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def _record(self, pcm: Pcm16) -> None:
        if self.parameter("RecordingChannels", "mono") != "dual":
            pcm = pcm.mean(axis=1, keepdims=True).astype(np.int16)
        elif int(self.sid[-1], 16) % 2:  # Twilio does not promise the order of the channels
            pcm = pcm[:, ::-1]
        if self.parameter("Trim", "trim-silence") != "do-not-trim":
            loud = np.flatnonzero(np.abs(pcm).max(axis=1) > 500)
            pcm = pcm[loud[0] : loud[-1] + 1] if len(loud) else pcm[:0]
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(pcm.shape[1])
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            out.writeframes(np.ascontiguousarray(pcm, "<i2").tobytes())
        self.recordings.append(Recording("RE" + secrets.token_hex(16), self.sid, file.getvalue()))


def _format_now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.unix_ns() / 1e9, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
