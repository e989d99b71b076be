"""A call's recordings at Twilio: lists, fetches and deletes them."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from turngap_agent.errors import LiveError

from turngap.live.twilio_api import RefusedError, TwilioClient

DELETE_TRIES = 10
"""A recording is listed some seconds after its call has ended."""
NEVER_CONNECTED = ("busy", "no-answer", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class TwilioRecordings:
    """The recordings of one account."""

    twilio: TwilioClient

    async def states_by_sid(self, call_sid: str) -> dict[str, str]:
        """Return the state of each of a call's recordings, by SID.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        calls = self.twilio.client.calls
        recordings = await self.twilio.request("the recording", lambda: calls(call_sid).recordings.list_async(limit=20))
        return {
            str(recording.sid): str(getattr(recording.status, "value", recording.status) or "")
            for recording in recordings
        }

    async def fetch(self, sid: str) -> bytes:
        """Return a recording as a WAV file with both channels.

        Raises:
            LiveError: Twilio can't be reached, or refuses.
        """
        credentials, base = self.twilio.credentials, self.twilio.client.api.base_url
        url = f"{base}/2010-04-01/Accounts/{credentials.account_sid}/Recordings/{sid}.wav?RequestedChannels=2"
        key = f"{credentials.api_key}:{credentials.api_secret}"
        headers = {"Authorization": "Basic " + base64.b64encode(key.encode()).decode("ascii")}

        async def get() -> bytes:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
                session.get(url, headers=headers) as response,
            ):
                if response.status != 200:
                    raise RefusedError(f"Twilio: the recording: HTTP {response.status}")
                return await response.read()

        return await self.twilio.request("the recording", get)

    async def delete_all(self, call_sid: str, pause: Callable[[], Awaitable[None]]) -> str:
        """Delete a call's recordings, finished or not; return a warning if one may be left, otherwise ""."""
        deleted, reason = 0, "none was listed"
        for attempt in range(DELETE_TRIES):
            if attempt:
                await pause()
            try:
                for sid in await self.states_by_sid(call_sid):
                    await self.twilio.request("deleting the recording", self.twilio.client.recordings(sid).delete_async)
                    deleted += 1
                if deleted or (await self.twilio.status(call_sid))[0] in NEVER_CONNECTED:
                    return ""
            except LiveError as error:
                reason = str(error)
        return f"its recording may still be at Twilio ({reason}): check Twilio's console and delete it"
