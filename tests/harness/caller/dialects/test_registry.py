"""What each dialect says of its platform."""

from __future__ import annotations

import pytest
from turngap.caller.connection_errors import strip_code
from turngap.caller.dialects import StreamNames
from turngap.caller.dialects.registry import DIALECTS, describe_buffer, make_dialect

NAMES = StreamNames("MZ", "CA", "AC", 100)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_buffer_is_its_platforms(name: str) -> None:
    """Vonage keeps 61 s, the others ten minutes; each by its own name."""
    holds = "61 s" if name.startswith("vonage") else "10 minutes"
    assert describe_buffer(make_dialect(name, NAMES)) == f"{name.partition('-')[0].title()}'s buffer holds {holds}"


@pytest.mark.parametrize("name", DIALECTS)
def test_twilios_code_is_in_no_other_platforms_line(name: str) -> None:
    """At the end of a line that the connection makes, which knows no dialect."""
    line = strip_code("WebSocket protocol error: a reserved bit (Twilio 31924)", name)
    assert line.endswith("a reserved bit" if name != "twilio" else "(Twilio 31924)")
