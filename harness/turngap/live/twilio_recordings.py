"""A call's recordings at Twilio: found, fetched as a witness, and deleted whatever became of the call."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from turngap_agent.errors import LiveError

from turngap.live.twilio_api import RefusedError, TwilioClient

LOOKS = 10
"""A recording is listed some seconds after its call has ended."""
NEVER_TALKED = ("busy", "no-answer", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class TwilioRecordings:
    """Those of one account."""

    twilio: TwilioClient

    async def states_by_sid(self, call_sid: str) -> dict[str, str]:
        """The state of each of a call's recordings, by SID.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        calls = self.twilio.client.calls
        found = await self.twilio.request("the recording", lambda: calls(call_sid).recordings.list_async(limit=20))
        return {str(one.sid): str(getattr(one.status, "value", one.status) or "") for one in found}

    async def fetch(self, sid: str) -> bytes:
        """A recording as a WAV file with both channels.

        Raises:
            LiveError: Twilio is not reached, or refuses.
        """
        credentials, base = self.twilio.credentials, self.twilio.client.api.base_url
        url = f"{base}/2010-04-01/Accounts/{credentials.account_sid}/Recordings/{sid}.wav?RequestedChannels=2"
        key = f"{credentials.api_key}:{credentials.api_secret}"
        headers = {"Authorization": "Basic " + base64.b64encode(key.encode()).decode("ascii")}

        async def get() -> bytes:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
                session.get(url, headers=headers) as answer,
            ):
                if answer.status != 200:
                    raise RefusedError(f"Twilio: the recording: HTTP {answer.status}")
                return await answer.read()

        return await self.twilio.request("the recording", get)

    async def delete_all(self, call_sid: str, pause: Callable[[], Awaitable[None]]) -> str:
        """Delete a call's recordings, finished or not; gives what to do about those that are left, "" for none."""
        deleted, fault = 0, "none was listed"
        for look in range(LOOKS):
            if look:
                await pause()
            try:
                for sid in await self.states_by_sid(call_sid):
                    await self.twilio.request("deleting the recording", self.twilio.client.recordings(sid).delete_async)
                    deleted += 1
                if deleted or (await self.twilio.status(call_sid))[0] in NEVER_TALKED:
                    return ""
            except LiveError as error:
                fault = str(error)
        return f"its recording may still be at Twilio ({fault}): check its console and delete it"
