"""The call that an engine is asked for: what decides which replica answers."""

from __future__ import annotations

from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("session", default="")
"""The id of the call that the running task belongs to; "" outside of calls, as in a warm-up."""
