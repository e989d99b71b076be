"""The requests of a fake Twilio to its customer's server: signed forms, and the TwiML that is returned."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import signature

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class StreamInstruction:
    """The `<Connect><Stream>` of a TwiML document."""

    url: str
    parameters: dict[str, str]
    status_callback: str


async def post_form(url: str, form: Mapping[str, str], token: str) -> str:
    """Post a signed form; return the body of the response.

    Raises:
        ProtocolError: no response, or an HTTP error; its `code` ends with Twilio's.
    """
    headers = {"X-Twilio-Signature": signature.sign(token, url, form.items())}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.post(url, data=dict(form), headers=headers) as response,
        ):
            text = await response.text()
            if response.status >= 400:
                raise twilio_error(11200, f"the webhook answered HTTP {response.status}")
            return text
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise twilio_error(11200, f"the webhook was not reached ({type(error).__name__})") from None


def parse_stream_twiml(twiml: str) -> StreamInstruction:
    """Return the stream that a TwiML document connects.

    Raises:
        ProtocolError: it is not TwiML, or has no valid stream; its `code` ends with Twilio's.
    """
    try:
        element = ET.fromstring(twiml).find("./Connect/Stream")
    except ET.ParseError:
        raise twilio_error(12100, "the document is not XML") from None
    if element is None or not element.get("url"):
        raise twilio_error(12200, "the document has no <Connect><Stream>")
    url = element.get("url", "")
    if "?" in url or not url.startswith(("ws://127.0.0.1", "wss://")):
        raise twilio_error(31923, "malformed stream URL")
    parameters = {item.get("name", ""): item.get("value", "") for item in element.findall("Parameter")}
    if any(len(name) + len(value) >= 500 for name, value in parameters.items()):
        raise twilio_error(31923, "a parameter is too long")
    return StreamInstruction(url, parameters, element.get("statusCallback", ""))


def twilio_error(code: int, text: str) -> ProtocolError:
    """Return the error for one of Twilio's codes."""
    return ProtocolError(f"{text} (Twilio {code})", code=f"protocol.{code}")
