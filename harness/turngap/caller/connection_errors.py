"""Whether an agent can be reached, and why a connection could not be opened.

Errors are one line with what to do and, where Twilio's dialect is spoken, Twilio's error code.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl

from turngap_agent.errors import AgentError
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import CLOSE_CODE_EXPLANATIONS, Close, CloseCode
from websockets.uri import parse_uri

from turngap.caller.dialects.registry import TWILIO

CONNECT_TIMEOUT_S = 10.0
_TWILIO_CODE = re.compile(r" \(Twilio \d+\)$")


async def check_listening(url: str, dialect: str = TWILIO) -> None:
    """Return if a server accepts connections at `url`, whatever it is; the connection is closed again at once.

    `dialect`: the wire format that will be spoken.

    Raises:
        AgentError: no server does.
    """
    uri = parse_uri(url)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(uri.host, uri.port)
    except OSError as error:  # a timeout is one
        explained = explain_error(url, error) or AgentError(str(error))
        raise AgentError(
            describe_error(explained, dialect), code=explained.code if dialect == TWILIO else None
        ) from None
    writer.close()


def explain_error(url: str, error: BaseException) -> AgentError | None:
    """Return the error of a failed opening; None for an exception that has another cause."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            hint = {401: "; is TWILIO_AUTH_TOKEN right?", 403: "; is TWILIO_AUTH_TOKEN right?", 404: "; check its path"}
            return connection_error(
                31920, f"{url} answered HTTP {status} to the WebSocket upgrade{hint.get(status, '')}"
            )
        case ssl.SSLError():
            return connection_error(31902, f"TLS with {url} failed: {error.reason or error}; is it a wss:// server?")
        case TimeoutError():
            return connection_error(31901, f"{url} did not answer within {CONNECT_TIMEOUT_S:g} s")
        case EOFError() | InvalidMessage(__cause__=EOFError()):
            return connection_error(
                31903, f"{url} closed the connection before the upgrade; it is not an agent that is called by WebSocket"
            )
        case OSError():
            return connection_error(
                31902,
                f"no connection to {url}: {_describe_os_error(error)}; is the agent running, and is the scheme right?",
            )
        case Exception():
            return connection_error(31924, f"{url} is not a WebSocket server: {error}")
        case _:
            return None


def _describe_os_error(error: OSError) -> str:
    """Return what failed, without the address that asyncio puts into the text of its errors."""
    numbers = [error.errno] if error.errno else [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))]
    if isinstance(error, socket.gaierror) or not numbers:
        return error.strerror or str(error) or "closed in the handshake"
    return " and ".join(dict.fromkeys(os.strerror(number) for number in numbers)).lower()


def describe_close(close: Close) -> str:
    """Return the code of a close with its meaning, and the other side's own reason."""
    meaning = CLOSE_CODE_EXPLANATIONS.get(close.code, "").removesuffix(" [internal]")
    said = f" ({meaning})" if meaning and close.code != CloseCode.NORMAL_CLOSURE else ""
    return f"code {int(close.code)}{said}{f', {close.reason!r}' if close.reason else ''}"


def connection_error(twilio_code: int, message: str) -> AgentError:
    """Return an error with Twilio's code in its text and at the end of its own code."""
    return AgentError(f"{message} (Twilio {twilio_code})", code=f"{AgentError.code}.{twilio_code}")


def describe_error(error: AgentError, dialect: str) -> str:
    """Return the error's line; Twilio's code is left out of it where another platform's dialect is spoken."""
    return strip_code(str(error), dialect)


def strip_code(text: str, dialect: str) -> str:
    """Return a line without Twilio's code at its end, unless it is Twilio's dialect that is spoken."""
    return text if dialect == TWILIO else _TWILIO_CODE.sub("", text)
