"""The part of Twilio's REST API that a smoke call needs; every error is one masked line.

`create` is never repeated: a request that failed may still have dialled. Such a call is looked for and ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from turngap_agent.errors import LiveError, UsageError
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from turngap.live import masking, twilio_codes
from turngap.live.credentials import Credentials
from turngap.live.masking import Masker
from turngap.live.safety import RING_S

Answer = TypeVar("Answer")
TIMEOUT_S = 15.0
OPEN_STATUSES = ("queued", "initiated", "ringing", "in-progress")
END_TRIES = 3
SKEW_S = 5


@dataclass(frozen=True, slots=True)
class CallRequest:
    """The parameters of one call."""

    to: str
    from_: str
    twiml: str
    status_callback: str
    time_limit_s: int
    record: bool
    amd_callback: str | None
    """The URL to which Twilio reports whether a person or a machine answered; None: no detection."""


class RefusedError(LiveError):
    """Twilio refused the request: nothing was dialled."""


class TwilioClient:
    """The official asynchronous client, with masked errors and no log; `base_url` points it to a fake."""

    def __init__(self, credentials: Credentials, masker: Masker, base_url: str | None = None) -> None:
        silent = logging.getLogger("turngap.live.silent")  # the client logs numbers and SIDs
        silent.propagate, silent.disabled = False, True
        self._masker = masker
        self.credentials = credentials
        self._http = AsyncTwilioHttpClient(timeout=TIMEOUT_S, logger=silent)
        self.client = Client(
            credentials.api_key,
            credentials.api_secret,
            credentials.account_sid,
            http_client=self._http,
            # TWILIO_EDGE and TWILIO_REGION would replace a fake's address by a real one.
            environment={"turngap": "fake"} if base_url is not None else None,
        )
        if base_url is not None:
            self.client.api.base_url = base_url

    async def close(self) -> None:
        """Close the client's connections."""
        await self._http.close()

    async def is_trial(self) -> bool | None:
        """Return whether the account is a trial; None if the API key may not read it (a standard key may not).

        Raises:
            LiveError: Twilio can't be reached.
        """
        try:
            account = await self.request("the account", lambda: self.client.api.accounts(self._sid).fetch_async())
        except RefusedError:
            return None
        return str(account.type).lower().endswith("trial")

    async def voice_url(self, number: str) -> str | None:
        """Return the voice URL of one of the account's numbers; None if the account does not have the number.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        numbers = await self.request(
            "the account's numbers",
            lambda: self.client.incoming_phone_numbers.list_async(phone_number=number, limit=2),
        )
        return str(numbers[0].voice_url or "") if numbers else None

    async def create(self, request: CallRequest) -> str:
        """Dial, once; return the call's SID.

        Raises:
            RefusedError: Twilio refused.
            LiveError: Twilio did not answer: the call may have been placed, see `end_unconfirmed_calls`.
        """
        if not request.time_limit_s > 0:
            raise UsageError("a live call needs a time limit greater than 0")
        options = {"record": True, "recording_channels": "dual", "trim": "do-not-trim"} if request.record else {}
        if request.amd_callback is not None:
            options |= {
                "machine_detection": "Enable",
                "async_amd": "true",
                "async_amd_status_callback": request.amd_callback,
            }
        call = await self.request(
            "the call",
            lambda: self.client.calls.create_async(
                to=request.to,
                from_=request.from_,
                twiml=request.twiml,
                status_callback=request.status_callback,
                status_callback_event=["initiated", "ringing", "answered", "completed"],
                timeout=RING_S,
                time_limit=request.time_limit_s,
                **options,
            ),
        )
        return str(call.sid)

    async def status(self, sid: str) -> tuple[str, str]:
        """Return the call's status and who answered it.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        call = await self.request("the call's status", lambda: self.client.calls(sid).fetch_async())
        return _status_text(call.status), str(call.answered_by or "")

    async def end(self, sid: str, pause: Callable[[], Awaitable[None]]) -> None:
        """End the call. Tries several times, as ending twice does no harm; a call that has ended already is no error.

        Raises:
            LiveError: the call could not be ended; Twilio ends it at its time limit.
        """
        for attempt in range(END_TRIES):
            try:
                await self.request("ending the call", lambda: self.client.calls(sid).update_async(status="completed"))
            except LiveError as error:
                if isinstance(error, RefusedError) and await self._has_ended(sid):
                    return
                if attempt == END_TRIES - 1:
                    raise
                await pause()
            else:
                return

    async def _has_ended(self, sid: str) -> bool:
        """Return whether the call has ended; False if that is not known."""
        try:
            return (await self.status(sid))[0] not in OPEN_STATUSES
        except LiveError:
            return False

    async def end_unconfirmed_calls(
        self, to: str, from_: str, since_unix_ns: int, pause: Callable[[], Awaitable[None]]
    ) -> list[str]:
        """End the open calls between two numbers that were created since `since_unix_ns`; return their SIDs.

        Looks twice, as a new call may not be listed at once. Twilio's times are whole seconds and clocks differ, so
        calls up to `SKEW_S` earlier are included.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        ended: list[str] = []
        for attempt in range(2):
            calls = await self.request(
                "the calls in progress", lambda: self.client.calls.list_async(to=to, from_=from_, limit=20)
            )
            for call in calls:
                created = call.date_created
                recent = created is None or created.timestamp() >= since_unix_ns / 1e9 - SKEW_S
                if recent and _status_text(call.status) in OPEN_STATUSES:
                    await self.end(str(call.sid), pause)
                    ended.append(str(call.sid))
            if not attempt:
                await pause()
        return ended

    async def warnings(self, sid: str) -> list[str]:
        """Return Twilio's notifications about a call: errors and warnings of its streams, one line each.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        notes = await self.request(
            "the call's notifications", lambda: self.client.calls(sid).notifications.list_async(limit=20)
        )
        lines = []
        for note in notes:
            code = int(note.error_code) if str(note.error_code).isdigit() else None
            text = twilio_codes.explain_code(code) or note.message_text
            lines.append(self._masker.text(f"{text} (Twilio {note.error_code})"))
        return list(dict.fromkeys(lines))

    @property
    def _sid(self) -> str:
        return self.credentials.account_sid

    async def request(self, request_name: str, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer to a request of the client; `request_name` names it in errors.

        Raises:
            RefusedError, LiveError: masked, and without the client's own exception, which shows SIDs.
        """
        try:
            return await send()
        except TwilioRestException as error:
            code, status, text = error.code, error.status, error.msg
        except TwilioException as error:  # a refused list raises no `TwilioRestException`
            code, status, text = _parse_refusal(error)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            kind = "no answer in time" if isinstance(error, TimeoutError | asyncio.TimeoutError) else "not reached"
            raise LiveError(f"Twilio: {request_name}: {kind} ({self._masker.text(type(error).__name__)})") from None
        meaning = twilio_codes.explain_code(code) or masking.Masker().text(self._masker.text(str(text)))
        message = f"Twilio: {request_name}: {meaning} (HTTP {status}{f', {code}' if code else ''})"
        if status >= 500 or not status:
            raise LiveError(message)
        raise RefusedError(message)


def _status_text(status: object) -> str:
    """Return a status as text: the client returns a text or an enumeration, depending on its version."""
    return str(getattr(status, "value", status) or "")


def _parse_refusal(error: TwilioException) -> tuple[int | None, int, str]:
    """Return Twilio's code, the HTTP status (0 without an answer) and the text of a refused list."""
    response = next((argument for argument in error.args if hasattr(argument, "status_code")), None)
    if response is None:
        return None, 0, type(error).__name__
    try:
        body = json.loads(response.text)
        return int(body["code"]), int(response.status_code), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return None, int(response.status_code), "an answer that is not JSON"
