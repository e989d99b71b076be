"""TwiML: the voice webhook's answer, which makes Twilio connect the call to the agent's WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from turngap_agent.errors import ProtocolError

MAX_PARAMETER = 500
"""Name and value of one `<Parameter>` together must be shorter than this many characters (Twilio)."""


def connect_stream(url: str, parameters: Mapping[str, str] | None = None, status_callback: str | None = None) -> str:
    """Return TwiML that opens a bidirectional Media Stream to `url` and passes `parameters` in its `start` message.

    Twilio calls `status_callback`, if there is one, when the stream starts, stops and fails.

    Raises:
        ProtocolError: the URL has a query string (it can fail Twilio's handshake: 31920), or a parameter is too long.
    """
    if "?" in url:
        raise ProtocolError(f"stream URL {url!r} has a query string, which Twilio may refuse; use parameters instead")
    children = ""
    for name, value in (parameters or {}).items():
        if len(name) + len(value) >= MAX_PARAMETER:
            raise ProtocolError(
                f"stream parameter {name!r} is too long; name and value together need < {MAX_PARAMETER}"
            )
        children += f"<Parameter name={quoteattr(name)} value={quoteattr(value)} />"
    callback = f" statusCallback={quoteattr(status_callback)}" if status_callback else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Response><Connect><Stream url={quoteattr(url)}{callback}>{children}</Stream></Connect></Response>"
    )


def say_and_hang_up(words: str) -> str:
    """Return TwiML that speaks `words` and ends the call."""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response><Say>{escape(words)}</Say><Hangup/></Response>'
