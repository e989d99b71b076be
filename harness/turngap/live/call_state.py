"""One live call as the server sees it: which streams may be opened for it, and the status that Twilio reports."""

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
"""The statuses that end a call, and what each means if no stream was opened."""


@dataclass(slots=True)
class CallState:
    """The current call; the server holds at most one."""

    caller: CallerLeg
    agent: AgentLeg | None
    caller_nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    agent_nonces: set[str] = field(default_factory=set)
    status: str = ""
    answered_by: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever Twilio has reported something about the call."""
    stream_errors: list[str] = field(default_factory=list)
    voice_requests: int = 0
    """How often Twilio requested the TwiML for the agent's number."""

    def new_agent_nonce(self) -> str:
        """Return a new nonce that opens the agent's stream once."""
        nonce = secrets.token_urlsafe(24)
        self.agent_nonces.add(nonce)
        return nonce

    def accept_nonce(self, nonce: str, *, agent: bool) -> bool:
        """Invalidate a nonce; return whether it opens that stream."""
        if agent:
            accepted = nonce in self.agent_nonces
            self.agent_nonces.discard(nonce)
            return accepted
        accepted = bool(nonce) and secrets.compare_digest(nonce.encode(), self.caller_nonce.encode())
        if accepted:
            self.caller_nonce = ""
        return accepted

    def apply_callback(self, form: dict[str, str]) -> None:
        """Update the state from a status callback's form, of the call or of a stream."""
        if status := form.get("CallStatus", ""):
            # Callbacks may arrive out of order: a final status is never replaced.
            self.status = self.status if self.status in TERMINAL else status
        if answered := form.get("AnsweredBy", ""):
            self.answered_by = answered
        if form.get("StreamEvent") == "stream-error":
            code = twilio_codes.parse_code(form.get("StreamErrorCode") or form.get("StreamError", ""))
            text = twilio_codes.explain_code(code) or form.get("StreamError", "")
            self.stream_errors.append(f"{text} (Twilio {code})" if code else text)
        self.changed.set()

    @property
    def voicemail(self) -> bool:
        """Whether Twilio reports that a machine answered."""
        return self.answered_by.startswith(("machine", "fax"))
