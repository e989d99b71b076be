"""Twilio's credentials: read from the environment only, and checked for their form before any use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from turngap_agent.errors import UsageError

ACCOUNT_SID, API_KEY, API_SECRET, AUTH_TOKEN = (
    "TWILIO_ACCOUNT_SID",
    "TWILIO_API_KEY",
    "TWILIO_API_SECRET",
    "TWILIO_AUTH_TOKEN",
)
_FORMS = {
    ACCOUNT_SID: (re.compile(r"AC[0-9a-f]{32}"), "AC and 32 hexadecimal digits, from the console's first page"),
    API_KEY: (re.compile(r"SK[0-9a-f]{32}"), "SK and 32 hexadecimal digits: make an API key in the console"),
    API_SECRET: (re.compile(r"[0-9A-Za-z]{24,64}"), "the secret that was shown when the API key was made"),
    AUTH_TOKEN: (re.compile(r"[0-9a-f]{32}"), "32 hexadecimal digits, from the console's first page"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key for the REST interface; the auth token only checks signatures and is never sent."""

    account_sid: str = field(repr=False)
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    auth_token: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value, for the masker."""
        return self.account_sid, self.api_key, self.api_secret, self.auth_token


def read_credentials(environment: Mapping[str, str]) -> Credentials:
    """Read the credentials.

    Raises:
        UsageError: a variable is missing or malformed; the message names the variable and never shows its value.
    """
    missing = [name for name in _FORMS if not environment.get(name)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not set: a live call needs them in the environment (docs/live.md); "
            "`turngap smoke --fake` needs none"
        )
    for name, (form, expected) in _FORMS.items():
        if not form.fullmatch(environment[name]):
            raise UsageError(f"{name} is malformed: expected {expected}")
    return Credentials(*(environment[name] for name in _FORMS))
