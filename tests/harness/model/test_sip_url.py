"""URLs of agents behind SIP: who is called, and one line for what cannot be."""

from __future__ import annotations

import pytest
from turngap.model.sip_url import SipUrl, is_sip_url, parse_sip_url
from turngap_agent.errors import UsageError


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("sip:agent@127.0.0.1:5070", SipUrl("agent", "127.0.0.1", 5070)),
        ("sip:+15005550006@pbx.example.com", SipUrl("+15005550006", "pbx.example.com", 5060)),
        ("sip:pbx.example.com;transport=UDP", SipUrl("", "pbx.example.com", 5060)),
    ],
)
def test_who_is_called(url: str, parts: SipUrl) -> None:
    """The port is 5060 unless it is given."""
    assert parse_sip_url(url) == parts
    assert is_sip_url(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sip:", "expected sip:USER@HOST"),
        ("sip:agent@host:0", "expected sip:USER@HOST"),
        ("sip:agent@host:99999", "expected sip:USER@HOST"),
        ("sip:a b@host", "expected sip:USER@HOST"),
        ("sips:agent@host", "expected sip:USER@HOST"),
        ("sip:agent@host;transport=tcp", "over UDP only"),
        ("sip:agent:secret@host", "TURNGAP_SIP_PASSWORD"),
    ],
)
def test_what_cannot_be_called_is_one_line(url: str, said: str) -> None:
    """A password is not repeated."""
    with pytest.raises(UsageError, match=said) as caught:
        parse_sip_url(url)
    assert "secret" not in str(caught.value)
    assert not is_sip_url("ws://host/sip:")
