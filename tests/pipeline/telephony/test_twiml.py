"""TwiML that Twilio can read, whatever the parameters are."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony.twiml import connect_stream

printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=100)


@given(value=printable)
def test_parameters_survive_the_xml(value):
    """An XML parser returns what was put in, and the elements are Twilio's."""
    response = ET.fromstring(connect_stream("wss://agent.example/twilio/media", {"nonce": value}))
    (stream,) = response.findall("./Connect/Stream")
    assert stream.attrib == {"url": "wss://agent.example/twilio/media"}
    (parameter,) = stream
    assert (parameter.tag, parameter.attrib) == ("Parameter", {"name": "nonce", "value": value})


def test_a_query_string_is_refused():
    """A stream URL with a query can fail Twilio's handshake (31920)."""
    with pytest.raises(ProtocolError, match="query string"):
        connect_stream("wss://agent.example/twilio/media?x=1")


def test_a_parameter_twilio_would_refuse_is_refused():
    """Name and value together stay under 500 characters."""
    connect_stream("wss://a/b", {"n": "x" * 498})
    with pytest.raises(ProtocolError, match="too long"):
        connect_stream("wss://a/b", {"n": "x" * 499})


def test_a_stream_can_tell_how_it_goes() -> None:
    """Twilio posts its stream's events to the status callback; without one the document is as it was."""
    document = connect_stream("wss://a.example/x", {}, "https://a.example/events?a=1&b=2")
    assert 'statusCallback="https://a.example/events?a=1&amp;b=2"' in document
    assert "statusCallback" not in connect_stream("wss://a.example/x")
