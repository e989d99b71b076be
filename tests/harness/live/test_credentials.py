"""Pins how credentials are taken: from the environment, checked in form, never shown."""

from __future__ import annotations

import pytest
from turngap.live.credentials import read_credentials
from turngap_agent.errors import UsageError

GOOD = {
    "TWILIO_ACCOUNT_SID": "AC" + "a" * 32,
    "TWILIO_API_KEY": "SK" + "b" * 32,
    "TWILIO_API_SECRET": "c" * 32,
    "TWILIO_AUTH_TOKEN": "d" * 32,
}


def test_all_four_are_needed() -> None:
    """The message names what is missing."""
    for name in GOOD:
        with pytest.raises(UsageError, match=name):
            read_credentials({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize("name", GOOD)
def test_a_malformed_one_is_named_and_not_shown(name: str) -> None:
    """Before anything is sent anywhere."""
    bad = "not-right-" + "z" * 10
    with pytest.raises(UsageError, match=name) as caught:
        read_credentials(GOOD | {name: bad})
    assert bad not in str(caught.value)


def test_the_object_shows_nothing_of_them() -> None:
    """A trace with it in it is harmless."""
    shown = repr(read_credentials(GOOD))
    assert not any(value in shown for value in GOOD.values())
