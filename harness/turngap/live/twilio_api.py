"""Twilio's REST interface, as far as a smoke call needs it; every fault is one masked line.

`create` is asked once and never again: a request that failed may have dialled. What it may have left ringing is found
and ended.
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
    """One call to be placed."""

    to: str
    from_: str
    twiml: str
    status_callback: str
    time_limit_s: int
    record: bool
    amd_callback: str | None
    """Where Twilio says whether a person or a machine answered; None: it is not asked."""


class RefusedError(LiveError):
    """Twilio answered, and said no: nothing was dialled."""


class TwilioClient:
    """The official asynchronous client, with our manners; `base_url` leads it to a fake."""

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
            # TWILIO_EDGE and TWILIO_REGION would turn a fake's address into a real one.
            environment={"turngap": "fake"} if base_url is not None else None,
        )
        if base_url is not None:
            self.client.api.base_url = base_url

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    async def is_trial(self) -> bool | None:
        """Whether the account is a trial; None where the API key may not know (a standard key may not).

        Raises:
            LiveError: Twilio is not reached.
        """
        try:
            account = await self.request("the account", lambda: self.client.api.accounts(self._sid).fetch_async())
        except RefusedError:
            return None
        return str(account.type).lower().endswith("trial")

    async def voice_url(self, number: str) -> str | None:
        """Where calls to one of the account's numbers are answered; None where the number is none of the account's.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        found = await self.request(
            "the account's numbers",
            lambda: self.client.incoming_phone_numbers.list_async(phone_number=number, limit=2),
        )
        return str(found[0].voice_url or "") if found else None

    async def create(self, request: CallRequest) -> str:
        """Dial, once; gives the call's SID.

        Raises:
            RefusedError: Twilio said no.
            LiveError: no answer came: the call may have been placed, see `end_strays`.
        """
        if not request.time_limit_s > 0:
            raise UsageError("a call without a time limit is not placed")
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
        """The call's status and who answered it.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        call = await self.request("the call's status", lambda: self.client.calls(sid).fetch_async())
        return _state(call.status), str(call.answered_by or "")

    async def end(self, sid: str, pause: Callable[[], Awaitable[None]]) -> None:
        """Have the call completed; asked several times, as ending twice does no harm. One that has ended is no fault.

        Raises:
            LiveError: it could not be; Twilio ends it at its time limit.
        """
        for attempt in range(END_TRIES):
            try:
                await self.request("ending the call", lambda: self.client.calls(sid).update_async(status="completed"))
            except LiveError as fault:
                if isinstance(fault, RefusedError) and await self._is_over(sid):
                    return
                if attempt == END_TRIES - 1:
                    raise
                await pause()
            else:
                return

    async def _is_over(self, sid: str) -> bool:
        """False where that is not known."""
        try:
            return (await self.status(sid))[0] not in OPEN_STATUSES
        except LiveError:
            return False

    async def end_unconfirmed_calls(
        self, to: str, from_: str, since_unix_ns: int, pause: Callable[[], Awaitable[None]]
    ) -> list[str]:
        """End the calls between these two numbers that go on and were created since then, looking twice.

        Gives their SIDs. Twilio's times are whole seconds, and clocks differ: `SKEW_S` earlier is taken for since.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        ended: list[str] = []
        for attempt in range(2):
            calls = await self.request(
                "calls under way", lambda: self.client.calls.list_async(to=to, from_=from_, limit=20)
            )
            for call in calls:
                created = call.date_created
                ours = created is None or created.timestamp() >= since_unix_ns / 1e9 - SKEW_S
                if ours and _state(call.status) in OPEN_STATUSES:
                    await self.end(str(call.sid), pause)
                    ended.append(str(call.sid))
            if not attempt:
                await pause()  # what was just placed may not be listed yet
        return ended

    async def warnings(self, sid: str) -> list[str]:
        """What Twilio noted of a call: errors and warnings of its streams, one line each.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        notes = await self.request(
            "the call's notifications", lambda: self.client.calls(sid).notifications.list_async(limit=20)
        )
        found = []
        for note in notes:
            code = int(note.error_code) if str(note.error_code).isdigit() else None
            found.append(
                self._masker.text(f"Twilio {note.error_code}: {twilio_codes.explain(code) or note.message_text}")
            )
        return list(dict.fromkeys(found))

    @property
    def _sid(self) -> str:
        return self.credentials.account_sid

    async def request(self, what: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the client answers.

        Raises:
            RefusedError, LiveError: masked, and without the client's own exception, which shows SIDs.
        """
        try:
            return await request()
        except TwilioRestException as fault:
            code, status, text = fault.code, fault.status, fault.msg
        except TwilioException as fault:  # a list that was refused is no `TwilioRestException`
            code, status, text = _refusal(fault)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            kind = "no answer in time" if isinstance(fault, TimeoutError | asyncio.TimeoutError) else "not reached"
            raise LiveError(f"Twilio: {what}: {kind} ({self._masker.text(type(fault).__name__)})") from None
        said = twilio_codes.explain(code) or masking.Masker().text(self._masker.text(str(text)))
        message = f"Twilio: {what}: {said} (HTTP {status}{f', {code}' if code else ''})"
        if status >= 500 or not status:
            raise LiveError(message)
        raise RefusedError(message)


def _state(status: object) -> str:
    """The client gives a text or an enumeration, by its version."""
    return str(getattr(status, "value", status) or "")


def _refusal(fault: TwilioException) -> tuple[int | None, int, str]:
    """Twilio's code, the HTTP status (0 where there was no answer) and the text of a refused list."""
    answer = next((one for one in fault.args if hasattr(one, "status_code")), None)
    if answer is None:
        return None, 0, type(fault).__name__
    try:
        said = json.loads(answer.text)
        return int(said["code"]), int(answer.status_code), str(said["message"])
    except (ValueError, KeyError, TypeError):
        return None, int(answer.status_code), "no answer that can be read"
