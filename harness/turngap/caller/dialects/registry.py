"""The dialects by name, as options and scenarios state them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap.caller.dialects import Dialect, StreamNames
from turngap.caller.dialects.plivo import PlivoDialect
from turngap.caller.dialects.sip import SipDialect
from turngap.caller.dialects.telnyx import TelnyxDialect
from turngap.caller.dialects.twilio import TwilioDialect
from turngap.caller.dialects.vonage import VonageDialect

TWILIO, SIP = "twilio", "sip"
_MAKERS: dict[str, Callable[[StreamNames], Dialect]] = {
    TWILIO: TwilioDialect,
    "telnyx": TelnyxDialect,
    "plivo": PlivoDialect,
    "vonage": VonageDialect,
    "vonage-8khz": partial(VonageDialect, rate=8000),
}
DIALECTS = tuple(_MAKERS)
"""Those of a WebSocket. SIP is none of them: a `sip:` URL says it."""


def make_dialect(name: str, names: StreamNames) -> Dialect:
    """Return the side of one call in the dialect `name`: one of `DIALECTS`, or `SIP`."""
    return SipDialect(names) if name == SIP else _MAKERS[name](names)


def describe_buffer(dialect: Dialect) -> str:
    """Return how much audio the dialect's platform buffers: "Twilio's buffer holds 10 minutes"."""
    seconds = round(dialect.max_buffered_ns / 1e9)
    amount = f"{seconds // 60} minutes" if seconds >= 120 and not seconds % 60 else f"{seconds} s"
    return f"{dialect.platform}'s buffer holds {amount}"


def check_dialect(name: str) -> str:
    """Return the name of a dialect if it is one.

    Raises:
        UsageError: there is no such dialect.
    """
    if name not in _MAKERS:
        raise UsageError(f"--dialect: no dialect {name!r}{documents.list_choices(name, DIALECTS)}")
    return name
