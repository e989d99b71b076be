"""What a fake Twilio is like: its account, its numbers, its network, and what becomes of calls."""

from __future__ import annotations

import secrets
from enum import StrEnum

from pydantic import Field
from turngap_agent.documents import FrozenModel

from turngap.live.credentials import Credentials
from turngap.network import Direction


class Behaviour(StrEnum):
    """What becomes of a call."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"
    VOICEMAIL = "voicemail"
    ENDED = "ended"
    """Answered, and ended by Twilio in the middle."""
    DROPPED = "dropped"
    """Answered, and both streams break in the middle: no `stop`, no close message."""
    LOST = "lost"
    """`create` places the call, and its answer is lost."""


class FakeSettings(FrozenModel):
    """One fake; JSON on its command line."""

    account_sid: str
    api_key: str
    api_secret: str
    auth_token: str
    caller_number: str = "+15005550010"
    agent_number: str = "+15005550011"
    voice_url: str = ""
    """Where calls to the agent's number are answered; "": it has no answer."""
    uplink: Direction = Direction()
    downlink: Direction = Direction()
    agent_ms: float = 300.0
    """The delay of who answers at any other number."""
    behaviour: Behaviour = Behaviour.ANSWERED
    trial: bool = False
    ended_after_s: float = Field(3.0, gt=0)
    ring_s: float = Field(0.2, ge=0)
    seed: int = 1

    @property
    def credentials(self) -> Credentials:
        """What the client needs to be let in."""
        return Credentials(self.account_sid, self.api_key, self.api_secret, self.auth_token)


def random_credentials() -> dict[str, str]:
    """Credentials that are good for nothing but a fake."""
    return {
        "account_sid": "AC" + secrets.token_hex(16),
        "api_key": "SK" + secrets.token_hex(16),
        "api_secret": secrets.token_hex(16),
        "auth_token": secrets.token_hex(16),
    }
