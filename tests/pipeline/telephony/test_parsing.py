"""Wire messages, written and read: what was sent arrives, and what does not fit is refused with the field's name."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony import messages
from turngap_agent.telephony.messages import Inbound, Outbound
from turngap_agent.telephony.parsing import parse_inbound, parse_outbound

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 10**18 - 1)
PAYLOAD = st.binary(max_size=400)
INBOUND: st.SearchStrategy[Inbound] = st.one_of(
    st.builds(messages.Connected, TEXT, TEXT),
    st.builds(
        messages.Start,
        TEXT,
        TEXT,
        TEXT,
        NUMBER,
        st.dictionaries(TEXT, TEXT, max_size=3),
        TEXT,
        st.integers(),
        st.integers(),
        st.lists(TEXT, max_size=2).map(tuple),
    ),
    st.builds(messages.InboundMedia, TEXT, NUMBER, NUMBER, NUMBER, PAYLOAD, TEXT),
    st.builds(messages.Dtmf, TEXT, NUMBER, TEXT),
    st.builds(messages.InboundMark, TEXT, NUMBER, TEXT),
    st.builds(messages.Stop, TEXT, NUMBER, TEXT, TEXT),
)
OUTBOUND: st.SearchStrategy[Outbound] = st.one_of(
    st.builds(messages.OutboundMedia, TEXT, PAYLOAD),
    st.builds(messages.OutboundMark, TEXT, TEXT),
    st.builds(messages.Clear, TEXT),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(INBOUND)
def test_inbound_messages_are_parsed_as_written(message: Inbound) -> None:
    """Numbers and sizes are parsed exactly."""
    assert parse_inbound(message.to_json()) == message


@given(OUTBOUND)
def test_outbound_messages_are_parsed_as_written(message: Outbound) -> None:
    """Audio of any length."""
    assert parse_outbound(message.to_json()) == message


@given(INBOUND, st.data())
def test_a_field_of_another_kind_is_refused_or_read(message: Inbound, data: st.DataObject) -> None:
    """No error but `ProtocolError` is raised."""
    fields = json.loads(message.to_json())
    body = data.draw(st.sampled_from([one for one in (fields, *fields.values()) if isinstance(one, dict)]))
    if body:
        body[data.draw(st.sampled_from(sorted(body)))] = data.draw(JSON)
    with contextlib.suppress(ProtocolError):
        parse_inbound(json.dumps(fields))


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"sequenceNumber": 3}, "`sequenceNumber`", "3"),
        ({"sequenceNumber": "-3"}, "`sequenceNumber`", "'-3'"),
        ({"media": None}, "`media`", ""),
        ({"event": "hello"}, "event", "'hello'"),
    ],
)
def test_the_field_is_named(changed: dict[str, Any], field: str, value: str) -> None:
    """And its value."""
    fields = json.loads(messages.InboundMedia("MZ", 2, 1, 0, b"\xff").to_json())
    with pytest.raises(ProtocolError) as raised:
        parse_inbound(json.dumps(fields | changed))
    assert field in str(raised.value)
    assert value in str(raised.value)
