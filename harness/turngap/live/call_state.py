"""One live call as the server sees it: which streams may be opened for it, and what Twilio says of it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from turngap.live import twilio_codes
from turngap.live.agent_leg import AgentLeg
from turngap.live.caller_leg import CallerLeg

NONCE = "nonce"
TERMINAL = {
    "completed": "",
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "the call could not be connected",
    "canceled": "the call was cancelled before it was answered",
}
"""What ends a call, and what it means where no stream had come."""


@dataclass(slots=True)
class CallState:
    """The call under way; the server holds one at most."""

    caller: CallerLeg
    agent: AgentLeg | None
    caller_nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    agent_nonces: set[str] = field(default_factory=set)
    status: str = ""
    answered_by: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever Twilio has said something of the call."""
    faults: list[str] = field(default_factory=list)
    voice_requests: int = 0
    """How often the agent's number was answered here."""

    def new_agent_nonce(self) -> str:
        """A word that opens the agent's stream, once."""
        nonce = secrets.token_urlsafe(24)
        self.agent_nonces.add(nonce)
        return nonce

    def accept_nonce(self, nonce: str, *, agent: bool) -> bool:
        """Use a nonce up; False where it does not open that stream."""
        if agent:
            known = nonce in self.agent_nonces
            self.agent_nonces.discard(nonce)
            return known
        known = bool(nonce) and secrets.compare_digest(nonce.encode(), self.caller_nonce.encode())
        if known:
            self.caller_nonce = ""
        return known

    def apply_callback(self, form: dict[str, str]) -> None:
        """A status callback's form, of the call or of a stream."""
        if status := form.get("CallStatus", ""):
            # Callbacks may overtake each other: an end is never taken back.
            self.status = self.status if self.status in TERMINAL else status
        if answered := form.get("AnsweredBy", ""):
            self.answered_by = answered
        if form.get("StreamEvent") == "stream-error":
            code = _code(form.get("StreamErrorCode") or form.get("StreamError", ""))
            text = twilio_codes.explain(code) or form.get("StreamError", "")
            self.faults.append(f"{code}: {text}" if code else text)
        self.changed.set()

    @property
    def voicemail(self) -> bool:
        """Whether Twilio takes who answered for a machine."""
        return self.answered_by.startswith(("machine", "fax"))


def _code(text: str) -> int | None:
    digits = text.strip()[:5]
    return int(digits) if digits.isdigit() else None
