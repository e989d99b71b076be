"""The dialects' messages: what is understood, what is refused with a reason, keys and ends; any input is survived."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.dialects import AgentAudio, StreamNames
from turngap.caller.dialects.json_messages import MAX_JSON_CHARS, load_message, read_payload
from turngap.caller.dialects.registry import DIALECTS, check_dialect, make_dialect
from turngap.caller.long_message import LongMessage, slice_message
from turngap_agent.errors import ProtocolError, UsageError

NAMES = StreamNames("stream", "call", "account", 100, unix_ms=1_700_000_000_000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "event",
        "action",
        "media",
        "mark",
        "name",
        "streamSid",
        "stream_id",
        "streamId",
        "payload",
        "contentType",
        "sampleRate",
    ]
)
VALUES = JSON | st.sampled_from(
    ["media", "mark", "clear", "playAudio", "checkpoint", "notify", "stream", "audio/x-l16"]
)
MESSAGES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4), max_size=6).map(json.dumps)


@pytest.mark.parametrize("name", DIALECTS)
@given(message=MESSAGES | st.text(max_size=40) | st.binary(max_size=40))
def test_any_message_is_understood_or_refused(name: str, message: str | bytes) -> None:
    """With a reason in words, and no other error."""
    refusal = ""
    warnings: object = None
    try:
        _, warnings = make_dialect(name, NAMES).parse(message)
    except ProtocolError as error:
        refusal = str(error)
    assert (warnings is None) == bool(refusal)


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("twilio", {"event": "media", "streamSid": "other", "media": {"payload": ""}}, "for stream 'other'"),
        ("twilio", b"\x00", "text frames only"),
        ("telnyx", {"event": "media", "stream_id": "other", "media": {"payload": ""}}, "for stream 'other'"),
        ("telnyx", {"event": "playAudio"}, "expected media, mark or clear"),
        ("plivo", {"event": "media", "media": {"payload": ""}}, "expected playAudio, checkpoint or clearAudio"),
        ("plivo", {"event": "playAudio", "media": {"contentType": "audio/mp3", "sampleRate": 8000}}, "Plivo takes"),
        ("plivo", {"event": "playAudio", "media": {"contentType": "audio/x-mulaw", "sampleRate": 16000}}, "16000 Hz"),
        ("vonage", {"event": "media"}, "expected clear or notify"),
    ],
)
def test_what_a_platform_would_not_understand_is_named(name: str, message: Any, reason: str) -> None:
    """In one line."""
    with pytest.raises(ProtocolError, match=reason):
        make_dialect(name, NAMES).parse(message if isinstance(message, bytes) else json.dumps(message))


def test_audio_of_an_odd_length_is_played_with_a_warning() -> None:
    """Vonage takes 20 ms, Telnyx 20 ms to 30 s; it is said with the numbers."""
    _, ((_, vonage),) = make_dialect("vonage", NAMES).parse(bytes(320))
    assert "takes 640 (20 ms at 16000 Hz)" in vonage
    telnyx = make_dialect("telnyx", NAMES)
    _, ((_, short),) = telnyx.parse(json.dumps({"event": "media", "media": {"payload": "AAAA"}}))
    assert "20 ms at least" in short
    _, ((_, long),) = telnyx.parse(json.dumps({"event": "media", "media": {"payload": "A" * 400_000}}))
    assert "30 s at most" in long


def test_keys_and_ends() -> None:
    """Each platform's own message for a key press, and for the end of the stream if it has one."""
    keys = {name: json.loads(make_dialect(name, NAMES).key_message("5")) for name in DIALECTS}
    assert keys["twilio"]["dtmf"] == {"track": "inbound_track", "digit": "5"}
    assert keys["telnyx"]["dtmf"] == {"digit": "5"}
    assert keys["plivo"]["dtmf"]["digit"] == "5"
    assert keys["vonage"] == {"event": "websocket:dtmf", "digit": "5", "duration": 260}
    ends = {name: [json.loads(text) for text in make_dialect(name, NAMES).stop_messages()] for name in DIALECTS}
    assert [message["event"] for message in ends["twilio"]] == ["stop"]
    assert ends["telnyx"][0]["stop"] == {"user_id": "account", "call_control_id": "call"}
    assert ends["plivo"] == ends["vonage"] == []


def test_timestamps_and_numbers() -> None:
    """Twilio and Telnyx number with strings from the stream's start, Plivo with numbers and Unix time."""
    media = {
        name: [json.loads(dialect.media_message(frame, bytes(160))) for frame in (0, 1)]
        for name, dialect in ((name, make_dialect(name, NAMES)) for name in ("twilio", "telnyx", "plivo"))
    }
    assert [(m["sequenceNumber"], m["media"]["chunk"], m["media"]["timestamp"]) for m in media["twilio"]] == [
        ("2", "1", "100"),
        ("3", "2", "120"),
    ]
    assert [(m["sequence_number"], m["media"]["chunk"], m["media"]["timestamp"]) for m in media["telnyx"]] == [
        ("1", "1", "100"),
        ("2", "2", "120"),
    ]
    assert [(m["sequenceNumber"], m["media"]["chunk"], m["media"]["timestamp"]) for m in media["plivo"]] == [
        (1, 1, "1700000000000"),
        (2, 2, "1700000000020"),
    ]


@given(st.integers(0, 40_000), st.booleans(), st.integers(500, 20_000))
def test_a_long_payload_is_cut_out_before_the_json_is_parsed(groups: int, first: bool, part: int) -> None:
    """Wherever it stands in the message, whole or in parts; a message in parts has it at its beginning."""
    payload = "AbC/" * groups
    body = {"media": {"payload": payload}, "event": "media"}
    text = json.dumps(body if first else dict(reversed(body.items())))
    assert read_payload(load_message(text)) == payload
    parts = [text[at : at + part] for at in range(0, len(text), part)]
    read = read_payload(load_message(LongMessage(parts)))
    assert "".join(str(each) for each in slice_message(read, 1000)) == payload


def test_a_payload_with_escaped_slashes_is_read() -> None:
    r"""As PHP writes it, `\/` for `/`."""
    text = '{"event":"media","media":{"payload":"' + "AAA\\/" * MAX_JSON_CHARS + '"}}'
    assert read_payload(load_message(text)) == "AAA/" * MAX_JSON_CHARS


def test_plivo_names_the_format_of_each_message() -> None:
    """μ-law at 8 kHz, and 16-bit PCM at 8 and 16 kHz."""
    for content, rate, coding in (("audio/x-mulaw", 8000, "mulaw"), ("audio/x-l16", "16000", "l16")):
        media = {"contentType": content, "sampleRate": rate, "payload": "AAAA"}
        event, _ = make_dialect("plivo", NAMES).parse(json.dumps({"event": "playAudio", "media": media}))
        assert isinstance(event, AgentAudio)
        assert (event.format.coding, event.format.rate) == (coding, int(rate))


def test_an_unknown_dialect_is_refused_with_those_that_there_are() -> None:
    """As a mistake of the user's."""
    with pytest.raises(UsageError, match="twilio, telnyx, plivo, vonage, vonage-8khz"):
        check_dialect("skype")
