"""Twilio's request signatures, on webhooks and on the WebSocket upgrade of a Media Stream.

`X-Twilio-Signature` is base64(HMAC(auth token, URL + sorted POST parameters)). The hash is SHA-1, or what
`X-Twilio-Webhooks-Signature-Settings` names. Source: Twilio, "Webhooks security", and twilio-python's
`RequestValidator`, whose results the tests compare with these.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

HEADER = "x-twilio-signature"
"""Its spelling on the upgrade; HTTP headers compare without case."""
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
SHA1 = "HMAC_SHA1"
SHA256 = "HMAC_SHA256"
_HASHES = {SHA1: hashlib.sha1, SHA256: hashlib.sha256}

Parameters = Iterable[tuple[str, str]]


def sign(token: str, url: str, parameters: Parameters = (), algorithm: str = SHA1) -> str:
    """Return the signature of a request to `url`, taken exactly as it is; a WebSocket upgrade has no parameters.

    Raises:
        KeyError: the algorithm is unknown.
    """
    text = url + "".join(name + value for name, value in sorted(set(parameters)))
    mac = hmac.new(token.encode(), text.encode(), _HASHES[algorithm])
    return base64.b64encode(mac.digest()).decode("ascii")


def is_valid(token: str, url: str, parameters: Parameters, signature: str, algorithm: str = SHA1) -> bool:
    """Whether `signature` is Twilio's for this request.

    The URL is tried with and without its port, because Twilio signs either. With an unknown algorithm none is valid.
    """
    if algorithm not in _HASHES:
        return False
    pairs = tuple(parameters)
    actual = signature.encode()
    # No early return: every candidate is compared, in constant time.
    matches = [hmac.compare_digest(sign(token, form, pairs, algorithm).encode(), actual) for form in _port_forms(url)]
    return any(matches)


def parse_algorithm(settings: str | None) -> str:
    """Return the algorithm named in a `X-Twilio-Webhooks-Signature-Settings` header; SHA-1 without one."""
    for part in (settings or "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return SHA1


def _port_forms(url: str) -> tuple[str, ...]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # the Host header may be anything: "[", for example
        return (url,)
    if port is not None:
        return (url, parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl())
    return (url, parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme in ('https', 'wss') else 80}").geturl())
