"""The settings of a fake Twilio: its account, its numbers, its network, and how calls end."""

from __future__ import annotations

import secrets
from enum import StrEnum

from pydantic import Field
from turngap_agent.documents import FrozenModel

from turngap.live.credentials import Credentials
from turngap.network import Direction


class FakeBehaviour(StrEnum):
    """How a call ends."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"
    VOICEMAIL = "voicemail"
    ENDED = "ended"
    """Answered, then ended by Twilio in the middle."""
    DROPPED = "dropped"
    """Answered, then both streams break in the middle: no `stop`, no close message."""
    LOST = "lost"
    """`create` places the call, but its response is lost."""


class FakeSettings(FrozenModel):
    """The settings of one fake, passed to it as JSON."""

    account_sid: str
    api_key: str
    api_secret: str
    auth_token: str
    caller_number: str = "+15005550010"
    agent_number: str = "+15005550011"
    voice_url: str = ""
    """The voice URL of the agent's number; "": it has none."""
    uplink: Direction = Direction()
    downlink: Direction = Direction()
    agent_ms: float = 300.0
    """The delay of the responder at any other number."""
    behaviour: FakeBehaviour = FakeBehaviour.ANSWERED
    trial: bool = False
    ended_after_s: float = Field(3.0, gt=0)
    ring_s: float = Field(0.2, ge=0)
    seed: int = 1

    @property
    def credentials(self) -> Credentials:
        """The credentials that this fake accepts."""
        return Credentials(self.account_sid, self.api_key, self.api_secret, self.auth_token)


def random_credentials() -> dict[str, str]:
    """Return new credentials for a fake."""
    return {
        "account_sid": "AC" + secrets.token_hex(16),
        "api_key": "SK" + secrets.token_hex(16),
        "api_secret": secrets.token_hex(16),
        "auth_token": secrets.token_hex(16),
    }
