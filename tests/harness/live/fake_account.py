"""A fake Twilio inside a test's own loop, with the official client led to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.live.fake.rest_api import FakeTwilio
from turngap.live.fake.settings import FakeSettings, random_credentials
from turngap.live.masking import Masker
from turngap.live.server import open_listener, serve_app
from turngap.live.twilio_api import CallRequest, TwilioClient
from turngap_agent.telephony.twiml import connect_stream

TO = "+15005550099"


@dataclass(frozen=True, slots=True)
class FakeAccount:
    """Both sides of the REST interface."""

    fake: FakeTwilio
    twilio: TwilioClient
    clock: SystemClock
    scheduler: Scheduler

    def call_request(self, **changed: Any) -> CallRequest:
        """A call that may be created; its stream has no agent."""
        given: dict[str, Any] = {
            "to": TO,
            "from_": self.fake.settings.caller_number,
            "twiml": connect_stream("ws://127.0.0.1:9/caller"),
            "status_callback": "http://127.0.0.1:9/status",
            "time_limit_s": 60,
            "record": False,
            "amd_callback": None,
        }
        return CallRequest(**given | changed)


@asynccontextmanager
async def fake_account(**settings: Any) -> AsyncIterator[FakeAccount]:
    """A fake and a client."""
    clock = SystemClock()
    fake_settings = FakeSettings(**{**random_credentials(), "ring_s": 5.0, **settings})
    async with Scheduler(clock).running() as scheduler:
        fake = FakeTwilio(fake_settings, clock=clock, scheduler=scheduler)
        with open_listener("127.0.0.1", 0) as listener:
            async with serve_app(fake.app(), listener):
                base = f"http://127.0.0.1:{listener.getsockname()[1]}"
                masker = Masker(fake_settings.credentials.secrets, (TO, fake_settings.caller_number))
                twilio = TwilioClient(fake_settings.credentials, masker, base)
                try:
                    yield FakeAccount(fake, twilio, clock, scheduler)
                finally:
                    await twilio.close()
                    await fake.close()
