"""Who may open a media stream: Twilio's signature, a single-use nonce, and a free line."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from turngap_agent import clock
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import MEDIA_PATH, signature

NONCE_PARAMETER = "nonce"
NONCE_LIFE_NS = 60_000_000_000
"""Twilio opens the stream right after it has read the TwiML."""
MAX_NONCES = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of itself, proxies taken into account."""

    scheme: str
    host: str
    target: str
    """Path and query, as sent."""
    headers: Mapping[str, str]
    """Names in lower case."""

    @classmethod
    def read(cls, scheme: str, path: str, query: str, headers: Mapping[str, str]) -> Asked:
        """From the request's parts: `X-Forwarded-Proto` and `X-Forwarded-Host` win over its own scheme and host.

        A forged forwarding header gains nothing: the URL made from it must still carry Twilio's signature.
        """
        proto = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
        host = headers.get("x-forwarded-host", "").split(",")[0].strip()
        target = f"{path}?{query}" if query else path
        return cls(proto or scheme, host or headers.get("host", ""), target, headers)

    @property
    def stream_url(self) -> str:
        """The stream's URL as it stands in the TwiML; Twilio takes `wss` alone."""
        return f"wss://{self.host}{MEDIA_PATH}"


class Admission:
    """Counts lines and checks callers; `token` is Twilio's auth token, None where nothing is signed."""

    def __init__(self, lines: int, token: str | None) -> None:
        self._lines = lines
        self._token = token
        self._taken = 0
        self._nonces: dict[str, int] = {}

    @property
    def active(self) -> int:
        """Calls that hold a line."""
        return self._taken

    @property
    def signed(self) -> bool:
        """Whether signatures and nonces are required."""
        return self._token is not None

    def take_line(self) -> bool:
        """Take a line for a call; False when all are taken."""
        if self._taken >= self._lines:
            return False
        self._taken += 1
        return True

    def free_line(self) -> None:
        """Give a line back."""
        self._taken -= 1

    def check_webhook(self, asked: Asked, body: bytes) -> None:
        """Check the signature of a voice webhook with a form `body`.

        Raises:
            ProtocolError: it is missing or wrong.
        """
        if not self.signed:
            return
        try:
            parameters = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
        except ValueError:
            raise ProtocolError("the webhook's body is no form") from None
        self._check(asked, f"{asked.scheme}://{asked.host}{asked.target}", parameters)

    def check_upgrade(self, asked: Asked) -> None:
        """Check the signature of a WebSocket upgrade: over the `wss` URL of the TwiML, without parameters.

        Raises:
            ProtocolError: it is missing or wrong.
        """
        self._check(asked, f"wss://{asked.host}{asked.target}", [])

    def new_nonce(self) -> str:
        """A word that opens one stream, soon."""
        now = clock.now_ns()
        self._nonces = {nonce: until for nonce, until in self._nonces.items() if until > now}
        if len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        nonce = secrets.token_urlsafe(24)
        self._nonces[nonce] = now + NONCE_LIFE_NS
        return nonce

    def check_nonce(self, parameters: Mapping[str, str]) -> None:
        """Use up the nonce of a stream's `start` message; nothing is asked where nothing is signed.

        Raises:
            ProtocolError: it is missing, unknown, used or old.
        """
        if not self.signed:
            return
        until = self._nonces.pop(parameters.get(NONCE_PARAMETER, ""), 0)
        if until <= clock.now_ns():
            raise ProtocolError("the stream's nonce is missing, used or too old; answer the call by its webhook")

    def _check(self, asked: Asked, url: str, parameters: list[tuple[str, str]]) -> None:
        if self._token is None:
            return
        given = asked.headers.get(signature.HEADER, "")
        algorithm = signature.algorithm_of(asked.headers.get(signature.SETTINGS_HEADER))
        if not signature.valid(self._token, url, parameters, given, algorithm):
            raise ProtocolError(
                f"the Twilio signature of {url} is missing or wrong; check TWILIO_AUTH_TOKEN and the URL"
            )
