"""Who may open a media stream: Twilio's signature, a single-use nonce, and how many calls there may be."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from turngap_agent import clock
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import MEDIA_PATH, signature

NONCE_PARAMETER = "nonce"
NONCE_LIFE_NS = 60_000_000_000
"""Twilio opens the stream right after reading the TwiML."""
MAX_NONCES = 10_000
MINUTE_NS = 60_000_000_000
_HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestUrl:
    """The URL and headers of a request, proxies taken into account."""

    scheme: str
    host: str
    target: str
    """Path and query, as sent."""
    headers: Mapping[str, str]
    """Names in lower case."""

    @classmethod
    def read(cls, scheme: str, path: str, query: str, headers: Mapping[str, str]) -> RequestUrl:
        """Build it from a request's parts; `X-Forwarded-Proto` and `X-Forwarded-Host` win over its own scheme and host.

        A forged forwarding header gains nothing: the URL made from it must still carry Twilio's signature.
        """
        proto = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
        host = headers.get("x-forwarded-host", "").split(",")[0].strip()
        target = f"{path}?{query}" if query else path
        return cls(proto or scheme, host or headers.get("host", ""), target, headers)

    @property
    def names_a_host(self) -> bool:
        """Whether `stream_url` can be one: the Host header may be anything."""
        return _HOST.fullmatch(self.host) is not None

    @property
    def stream_url(self) -> str:
        """The stream's URL for the TwiML; Twilio accepts `wss` only."""
        return f"wss://{self.host}{MEDIA_PATH}"


@dataclass(frozen=True, slots=True)
class _Nonce:
    until_ns: int
    call_sid: str


class Admission:
    """Counts calls and checks who opens them."""

    def __init__(self, max_calls: int, token: str | None, calls_a_minute: int | None = None) -> None:
        """Args: `max_calls` at the same time; `token`, Twilio's auth token, or None if nothing is signed."""
        self._max_calls = max_calls
        self._token = token
        self._calls_a_minute = calls_a_minute
        self._begun_ns: deque[int] = deque()
        """When the calls of the last minute began."""
        self._active = 0
        self._draining = False
        self._nonces: dict[bytes, _Nonce] = {}
        """By the nonce's hash: how long a lookup takes says nothing about the secret."""

    @property
    def active(self) -> int:
        """The number of calls now."""
        return self._active

    @property
    def signed(self) -> bool:
        """Whether signatures and nonces are required."""
        return self._token is not None

    @property
    def has_room(self) -> bool:
        """Whether another call would be taken now."""
        if self._draining or self._active >= self._max_calls:
            return False
        while self._begun_ns and self._begun_ns[0] <= clock.now_ns() - MINUTE_NS:
            self._begun_ns.popleft()
        return self._calls_a_minute is None or len(self._begun_ns) < self._calls_a_minute

    @property
    def draining(self) -> bool:
        """Whether the agent is about to stop and takes no more calls."""
        return self._draining

    def drain(self) -> None:
        """Take no more calls."""
        self._draining = True

    def start_call(self) -> bool:
        """Count a call; return False if there is no room for it."""
        if not self.has_room:
            return False
        self._active += 1
        if self._calls_a_minute is not None:
            self._begun_ns.append(clock.now_ns())
        return True

    def end_call(self) -> None:
        """Count the end of a call."""
        self._active -= 1

    def check_webhook(self, request: RequestUrl, body: bytes) -> None:
        """Check the signature of a voice webhook with a form `body`.

        Raises:
            ProtocolError: it is missing or wrong.
        """
        if not self.signed:
            return
        try:
            parameters = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
        except ValueError:
            raise ProtocolError("the webhook's body is not a form", code="protocol.form") from None
        self._check(request, f"{request.scheme}://{request.host}{request.target}", parameters)

    def check_upgrade(self, request: RequestUrl) -> None:
        """Check the signature of a WebSocket upgrade: over the `wss` URL of the TwiML, without parameters.

        Raises:
            ProtocolError: it is missing or wrong.
        """
        self._check(request, f"wss://{request.host}{request.target}", [])

    def new_nonce(self, call_sid: str) -> str:
        """Return a secret that opens one stream of that call within `NONCE_LIFE_NS`."""
        now = clock.now_ns()
        self._nonces = {key: nonce for key, nonce in self._nonces.items() if nonce.until_ns > now}
        if len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        secret = secrets.token_urlsafe(24)
        self._nonces[_hash(secret)] = _Nonce(now + NONCE_LIFE_NS, call_sid)
        return secret

    def check_nonce(self, parameters: Mapping[str, str], call_sid: str) -> None:
        """Use up the nonce in a stream's `start` message; nothing is checked if nothing is signed.

        Raises:
            ProtocolError: it is missing, unknown, used, old, or was given to another call than `call_sid`.
        """
        if not self.signed:
            return
        nonce = self._nonces.pop(_hash(parameters.get(NONCE_PARAMETER, "")), None)
        if nonce is None or nonce.until_ns <= clock.now_ns():
            raise ProtocolError(
                "the stream's nonce is missing, used or too old; answer the call by its webhook", code="protocol.nonce"
            )
        if nonce.call_sid != call_sid:
            raise ProtocolError(
                "the stream's nonce was given to another call; answer each call by its own webhook",
                code="protocol.nonce",
            )

    def _check(self, request: RequestUrl, url: str, parameters: list[tuple[str, str]]) -> None:
        if self._token is None:
            return
        given = request.headers.get(signature.HEADER, "")
        algorithm = signature.parse_algorithm(request.headers.get(signature.SETTINGS_HEADER))
        if not signature.is_valid(self._token, url, parameters, given, algorithm):
            raise ProtocolError(
                f"the Twilio signature of {url} is missing or wrong; check TWILIO_AUTH_TOKEN and the URL",
                code="protocol.signature",
            )


def _hash(nonce: str) -> bytes:
    return hashlib.sha256(nonce.encode()).digest()
