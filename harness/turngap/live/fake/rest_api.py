"""The part of Twilio's REST API that the official client needs for a smoke call."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.live.fake.call import FINAL_STATUSES, FakeCall, Recording
from turngap.live.fake.settings import FakeBehaviour, FakeSettings

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_LOST = 504


class FakeTwilio:
    """A fake account: its calls and their recordings."""

    def __init__(self, settings: FakeSettings, *, clock: Clock, scheduler: Scheduler) -> None:
        self.settings = settings
        self.calls: dict[str, FakeCall] = {}
        self.recordings: dict[str, Recording] = {}
        self._clock = clock
        self._scheduler = scheduler
        self._running: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End all calls."""
        for call in self.calls.values():
            call.end()
        await asyncio.gather(*self._running, return_exceptions=True)

    def app(self) -> FastAPI:
        """Return the ASGI application."""
        app = FastAPI(title="fake Twilio", docs_url=None, redoc_url=None, openapi_url=None)
        base = f"/2010-04-01/Accounts/{self.settings.account_sid}"

        @app.middleware("http")
        async def authorised(request: Request, call_next: Any) -> Response:
            if not self._authorised(request.headers.get("authorization", "")):
                return _error_response(401, 20003, "Authenticate")
            answer: Response = await call_next(request)
            return answer

        @app.get(f"{base}.json")
        async def account() -> Response:
            kind = "Trial" if self.settings.trial else "Full"
            return JSONResponse({"sid": self.settings.account_sid, "type": kind, "status": "active"})

        @app.get(f"{base}/IncomingPhoneNumbers.json")
        async def numbers(request: Request) -> Response:
            return JSONResponse(_page("incoming_phone_numbers", self._numbers(request.query_params)))

        @app.post(f"{base}/Calls.json")
        async def create(request: Request) -> Response:
            form = parse_qs((await request.body()).decode(), keep_blank_values=True)
            return self._create(form)

        @app.get(f"{base}/Calls.json")
        async def listed(request: Request) -> Response:
            query = request.query_params
            matches = [
                call.json()
                for call in self.calls.values()
                if all(not query.get(key) or call.parameter(key) == query[key] for key in ("To", "From"))
                and query.get("Status") in (None, "", call.status)
            ]
            return JSONResponse(_page("calls", matches))

        @app.get(base + "/Calls/{sid}.json")
        async def fetch(sid: str) -> Response:
            return JSONResponse(self.calls[sid].json()) if sid in self.calls else _not_found()

        @app.post(base + "/Calls/{sid}.json")
        async def update(sid: str, request: Request) -> Response:
            form = parse_qs((await request.body()).decode())
            call = self.calls.get(sid)
            if call is None:
                return _not_found()
            if call.status in FINAL_STATUSES:
                return _error_response(400, 21220, "Call is not in-progress. Cannot redirect.")
            if form.get("Status", [""])[0] in ("completed", "canceled"):
                call.end()
            return JSONResponse(call.json())

        @app.get(base + "/Calls/{sid}/Notifications.json")
        async def notifications(sid: str) -> Response:
            notes = self.calls[sid].notifications if sid in self.calls else []
            return JSONResponse(_page("notifications", notes))

        @app.get(base + "/Calls/{sid}/Recordings.json")
        async def recordings(sid: str) -> Response:
            call = self.calls.get(sid)
            for recording in call.recordings if call is not None else ():
                self.recordings[recording.sid] = recording
            if call is not None:
                call.recordings.clear()
            entries = [
                {"sid": recording.sid, "call_sid": sid, "status": "completed", "channels": 2}
                for recording in self.recordings.values()
                if recording.call_sid == sid
            ]
            return JSONResponse(_page("recordings", entries))

        @app.get(base + "/Recordings/{sid}.wav")
        async def media(sid: str) -> Response:
            recording = self.recordings.get(sid)
            return Response(recording.wav, media_type="audio/x-wav") if recording is not None else _not_found()

        @app.delete(base + "/Recordings/{sid}.json")
        async def delete(sid: str) -> Response:
            return Response(status_code=204) if self.recordings.pop(sid, None) is not None else _not_found()

        return app

    def _create(self, form: dict[str, list[str]]) -> Response:
        call = FakeCall(self.settings, form, self._clock, self._scheduler)
        if not _E164.fullmatch(call.parameter("To")):
            return _error_response(400, 21211, f"The 'To' number {call.parameter('To')} is not a valid phone number.")
        if call.parameter("From") not in (self.settings.caller_number, self.settings.agent_number):
            return _error_response(400, 21210, f"The source phone number {call.parameter('From')} is not yours.")
        if not call.parameter("Twiml") or len(call.parameter("Twiml")) > 4000:
            return _error_response(400, 21205, "Url or Twiml is needed")
        self.calls[call.sid] = call
        task = asyncio.create_task(call.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self.settings.behaviour is FakeBehaviour.LOST:
            return _error_response(_LOST, 20500, "gateway timeout")
        return JSONResponse(call.json(), 201)

    def _numbers(self, query: Any) -> list[dict[str, str]]:
        numbers = {self.settings.agent_number: self.settings.voice_url, self.settings.caller_number: ""}
        requested = query.get("PhoneNumber")
        return [
            {"sid": "PN" + "0" * 32, "phone_number": number, "voice_url": url}
            for number, url in numbers.items()
            if requested in (None, number)
        ]

    def _authorised(self, header: str) -> bool:
        key = f"{self.settings.api_key}:{self.settings.api_secret}"
        return hmac.compare_digest(header, "Basic " + base64.b64encode(key.encode()).decode())


def _page(name: str, items: list[Any]) -> dict[str, Any]:
    return {name: items, "page": 0, "page_size": 50, "next_page_uri": None, "first_page_uri": "", "uri": ""}


def _error_response(status: int, code: int, message: str) -> Response:
    return JSONResponse({"code": code, "message": message, "status": status, "more_info": ""}, status)


def _not_found() -> Response:
    return _error_response(404, 20404, "The requested resource was not found")
