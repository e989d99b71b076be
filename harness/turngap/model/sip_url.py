"""The URL of an agent behind SIP: `sip:user@host:port`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from turngap_agent.errors import UsageError

DEFAULT_PORT = 5060
_URL = re.compile(
    r"sip:(?:(?P<user>[^@:;?/\s]+)(?P<password>:[^@\s]*)?@)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<parameters>(?:;[^?\s]*)?)"
)


@dataclass(frozen=True, slots=True)
class SipUrl:
    """Who is called."""

    user: str
    """"" for a host alone."""
    host: str
    port: int

    @property
    def uri(self) -> str:
        """The request's URI."""
        return f"sip:{self.user + '@' if self.user else ''}{self.host}:{self.port}"


def is_sip_url(url: str) -> bool:
    """Return whether a URL is one of SIP's, well-formed or not."""
    return url.lower().startswith(("sip:", "sips:"))


def parse_sip_url(url: str) -> SipUrl:
    """Return the parts of `sip:user@host:port`.

    Raises:
        UsageError: it is no such URL, names a transport other than UDP, or has a password in it.
    """
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65_536:
        raise UsageError(f"--url {url!r}: expected sip:USER@HOST or sip:USER@HOST:PORT, as in sip:agent@127.0.0.1:5060")
    if found["password"]:
        raise UsageError(
            f"--url sip:{found['user']}:…@{found['host']}: a password in a URL ends in every report: set "
            "TURNGAP_SIP_USER and TURNGAP_SIP_PASSWORD instead"
        )
    transport = re.search(r";transport=(\w+)", found["parameters"], re.IGNORECASE)
    if transport is not None and transport[1].lower() != "udp":
        raise UsageError(f"--url {url!r}: calls are placed over UDP only, not over {transport[1]}")
    return SipUrl(found["user"] or "", found["host"], int(found["port"] or DEFAULT_PORT))
