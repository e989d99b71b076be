"""The dialect and the WebSocket of an agent from what its webhook answers, as a platform would read it.

Twilio (TwiML) and Telnyx (TeXML) name the socket in `<Stream url="…">`; TeXML's streams that can be answered have a
`bidirectionalMode`. Plivo's XML has it as the text of `<Stream>`. Vonage's answer is JSON, an NCCO with an endpoint of
type `websocket`. Sources: https://www.twilio.com/docs/voice/twiml/stream,
https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs/stream,
https://www.plivo.com/docs/voice/xml/the-stream-element, https://developer.vonage.com/en/voice/voice-api/ncco-reference.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from turngap_agent.errors import AgentError, UsageError

from turngap.clock import SystemClock

TIMEOUT_S = 10.0
"""For the whole answer."""
MAX_BYTES = 64 * 1024
_EXPECTED = "expected ws://HOST:PORT/PATH or wss://…, or the http:// URL of a webhook that names it"
_CALL = {"CallSid": "CA" + "0" * 32, "Direction": "inbound", "From": "+15005550006", "To": "+15005550006"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the webhook said."""

    dialect: str
    url: str
    """ws:// or wss://."""
    parameters: dict[str, str] = field(default_factory=dict)
    """What is passed on to the socket, as the stream's custom parameters."""


def fetch_answer(url: str) -> Answer:
    """Ask the webhook at `url` (http:// or https://) what to do with a call: by POST, or by GET if it takes no POST.

    Raises:
        AgentError: it can't be reached, or refuses: exit code 2, as for a socket.
        UsageError: it is no URL, or its answer names no WebSocket.
    """
    form = urllib.parse.urlencode(_CALL).encode()
    try:
        try:
            text = _request(url, form)
        except (urllib.error.HTTPError, http.client.RemoteDisconnected) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in (404, 405, 501):
                raise
            text = _request(f"{url}{'&' if '?' in url else '?'}{form.decode()}", None)
    except urllib.error.HTTPError as error:
        raise AgentError(f"--url {url}: the webhook answered HTTP {error.code}; {_EXPECTED}") from None
    except (ValueError, http.client.InvalidURL) as error:
        raise UsageError(f"--url {url}: no URL of a webhook ({error}); {_EXPECTED}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise AgentError(f"--url {url}: the webhook cannot be reached ({reason}); {_EXPECTED}") from None
    return read_answer(text, url)


def read_answer(text: str, url: str) -> Answer:
    """Return what a webhook's answer says; `url` names it in errors.

    Raises:
        UsageError: it is too long, neither XML nor an NCCO, or names no WebSocket.
    """
    expected = "expected TwiML, TeXML or Plivo XML with a <Stream>, or a Vonage NCCO with a websocket endpoint"
    if len(text) > MAX_BYTES:
        raise UsageError(f"--url {url}: the answer is longer than {MAX_BYTES // 1024} KiB; {expected}")
    answer = _read_ncco(text) if text.lstrip()[:1] in ("[", "{") else _read_xml(text)
    if answer is None:
        raise UsageError(f"--url {url}: no WebSocket in the answer {text.strip()[:60]!r}; {expected}")
    if urllib.parse.urlsplit(answer.url).scheme not in ("ws", "wss"):
        raise UsageError(f"--url {url}: its stream {answer.url[:80]!r} is no ws:// or wss:// URL")
    return answer


def _read_xml(text: str) -> Answer | None:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # no platform's answer has one; entities can be made to explode
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    stream = root.find(".//Stream")
    if stream is None:
        return None
    if "url" not in stream.attrib:
        return Answer("plivo", (stream.text or "").strip(), dict(_read_headers(stream.get("extraHeaders", ""))))
    parameters = {item.get("name", ""): item.get("value", "") for item in stream.iter("Parameter")}
    is_telnyx = any(name.startswith("bidirectional") for name in stream.attrib)
    return Answer("telnyx" if is_telnyx else "twilio", stream.attrib["url"].strip(), parameters)


def _read_headers(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each of `a=1,b=2`."""
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        yield name.strip(), value.strip()


def _read_ncco(text: str) -> Answer | None:
    try:
        actions: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for action in actions if isinstance(actions, list) else [actions]:
        endpoints = action.get("endpoint", []) if isinstance(action, dict) else []
        for endpoint in endpoints if isinstance(endpoints, list) else []:
            if isinstance(endpoint, dict) and endpoint.get("type") == "websocket":
                is_8khz = "rate=8000" in str(endpoint.get("content-type", "")).replace(" ", "")
                headers = endpoint.get("headers")
                parameters = {str(k): str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}
                return Answer("vonage-8khz" if is_8khz else "vonage", str(endpoint.get("uri", "")), parameters)
    return None


def _request(url: str, form: bytes | None) -> str:
    request = urllib.request.Request(url, data=form, headers={"User-Agent": "turngap"})
    clock, content = SystemClock(), b""
    deadline_ns = clock.now_ns() + round(TIMEOUT_S * 1e9)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        while len(content) <= MAX_BYTES and (piece := response.read1(MAX_BYTES)):
            content += piece
            # The socket's own limit counts from one piece to the next: a webhook that drips would never reach it.
            if clock.now_ns() > deadline_ns:
                raise TimeoutError(f"its answer took more than {TIMEOUT_S:g} s")
    return content.decode("utf-8", "replace")
