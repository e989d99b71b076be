"""What a fake Twilio asks of its customer's server: signed forms, and the TwiML that comes back."""

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
    """What a TwiML document wants connected."""

    url: str
    parameters: dict[str, str]
    status_callback: str


async def post(url: str, form: Mapping[str, str], token: str) -> str:
    """Post a form, signed; gives what was answered.

    Raises:
        ProtocolError: nothing was, or an error.
    """
    headers = {"X-Twilio-Signature": signature.sign(token, url, form.items())}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.post(url, data=dict(form), headers=headers) as answer,
        ):
            text = await answer.text()
            if answer.status >= 400:
                raise ProtocolError(f"11200: the webhook answered HTTP {answer.status}")
            return text
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise ProtocolError(f"11200: the webhook was not reached ({type(fault).__name__})") from None


def parse_stream_twiml(twiml: str) -> StreamInstruction:
    """The stream that a `<Connect>` names.

    Raises:
        ProtocolError: it is no TwiML, or has no stream.
    """
    try:
        found = ET.fromstring(twiml).find("./Connect/Stream")
    except ET.ParseError:
        raise ProtocolError("12100: the document is no XML") from None
    if found is None or not found.get("url"):
        raise ProtocolError("12200: the document has no <Connect><Stream>")
    url = found.get("url", "")
    if "?" in url or not url.startswith(("ws://127.0.0.1", "wss://")):
        raise ProtocolError("31923: malformed stream URL")
    parameters = {one.get("name", ""): one.get("value", "") for one in found.findall("Parameter")}
    if any(len(name) + len(value) >= 500 for name, value in parameters.items()):
        raise ProtocolError("31923: a parameter is too long")
    return StreamInstruction(url, parameters, found.get("statusCallback", ""))
