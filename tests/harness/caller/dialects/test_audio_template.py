"""Messages that need no parser: what is read of them is what the parser would find; everything else is parsed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.dialects import AgentAudio, StreamNames
from turngap.caller.dialects.audio_template import MOST_LESSONS, AudioTemplate
from turngap.caller.dialects.registry import DIALECTS, make_dialect
from turngap_agent.errors import ProtocolError

NAMES = StreamNames("MZ0", "call", "account", 100, unix_ms=1_700_000_000_000)
AUDIO = {
    "twilio": {"event": "media", "streamSid": "MZ0", "media": {"payload": "PAYLOAD"}},
    "telnyx": {"event": "media", "stream_id": "MZ0", "media": {"payload": "PAYLOAD"}},
    "plivo": {
        "event": "playAudio",
        "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "PAYLOAD"},
    },
}
JSON = st.none() | st.integers() | st.text(max_size=9) | st.just("payload") | st.just('"payload": "AAAA"')
PAYLOADS = st.binary(max_size=400).map(lambda raw: base64.b64encode(raw).decode()) | st.text(max_size=20)


def message(name: str, payload: str, *, separators: tuple[str, str] = (", ", ": "), **more: Any) -> str:
    text = json.dumps({**more, **AUDIO[name]}, separators=separators)
    return text.replace('"PAYLOAD"', f'"{payload}"')


@pytest.mark.parametrize("name", sorted(AUDIO))
@given(
    more=st.dictionaries(st.text(max_size=9).filter(lambda key: key not in ("event", "media")), JSON, max_size=3),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    payloads=st.lists(PAYLOADS, min_size=1, max_size=6),
)
def test_what_is_read_is_what_the_parser_finds(
    name: str, more: dict[str, Any], separators: tuple[str, str], payloads: list[str]
) -> None:
    """Of any message, after any others: either nothing, or the audio that parsing and decoding would yield."""
    dialect = make_dialect(name, NAMES)
    for payload in payloads:
        text = message(name, payload, separators=separators, **more)
        read = dialect.read_plain_audio(text)
        try:
            event, warnings = dialect.parse(text)
        except ProtocolError:
            assert read is None
            continue
        if read is not None:
            assert isinstance(event, AgentAudio)
            assert isinstance(event.payload, str)
            assert read == base64.b64decode(event.payload, validate=True)
            assert warnings == () or not list(warnings)


@pytest.mark.parametrize("name", sorted(AUDIO))
def test_the_second_message_needs_no_parser(name: str) -> None:
    """Neither do those after it, whatever the length of their audio; before the first one nothing is known."""
    dialect = make_dialect(name, NAMES)
    assert dialect.read_plain_audio(message(name, base64.b64encode(bytes(160)).decode())) is None
    dialect.parse(message(name, base64.b64encode(bytes(160)).decode()))
    for audio in (bytes(range(160)), bytes(800)):
        assert dialect.read_plain_audio(message(name, base64.b64encode(audio).decode())) == audio


@pytest.mark.parametrize(
    "payload", ["", "A", "AA", "AAA", "AA-_", "A\\nAA", "AAAA\nAAAA", "AAAAé", 'AAAA","x":"AAAA', "A" * 5000]
)
def test_anything_but_short_base64_is_parsed(payload: str) -> None:
    """So that every diagnosis is the parser's."""
    dialect = make_dialect("twilio", NAMES)
    dialect.parse(message("twilio", "AAAA"))
    assert dialect.read_plain_audio(message("twilio", "AAAA")) == bytes(3)
    assert dialect.read_plain_audio(message("twilio", payload)) is None


def test_other_messages_are_parsed() -> None:
    """A mark, a message for another stream, binary, and audio that is too short for its platform."""
    dialect = make_dialect("twilio", NAMES)
    dialect.parse(message("twilio", "AAAA"))
    assert dialect.read_plain_audio(message("twilio", "AAAA").replace("MZ0", "MZ1")) is None
    assert dialect.read_plain_audio('{"event": "mark", "streamSid": "MZ0", "mark": {"name": "a"}}') is None
    assert dialect.read_plain_audio(b"AAAA") is None
    telnyx = make_dialect("telnyx", NAMES)
    telnyx.parse(message("telnyx", base64.b64encode(bytes(160)).decode()))
    assert telnyx.read_plain_audio(message("telnyx", base64.b64encode(bytes(159)).decode())) is None


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - set(AUDIO)))
def test_binary_audio_is_parsed(name: str) -> None:
    """It has no text around it."""
    assert make_dialect(name, NAMES).read_plain_audio(bytes(320)) is None


def test_nothing_is_learnt_of_messages_with_escapes_or_two_payloads() -> None:
    """Which of two would count, or where a string ends, is the parser's to say."""
    for text in (
        '{"event":"media","media":{"payload":"AAAA"},"x":{"payload":"AAAA"}}',
        '{"x":"\\u0041","media":{"payload":"AAAA"}}',
        '{"media":{"payload":"BBBB"}}',
    ):
        template = AudioTemplate()
        template.learn(text, "AAAA")
        assert template.read(text) is None


def test_an_agent_that_numbers_its_messages_is_not_studied_for_ever() -> None:
    """After a hundred lessons no more is learnt; its messages are parsed."""
    template = AudioTemplate()
    texts = [f'{{"n":{number},"media":{{"payload":"AAAA"}}}}' for number in range(MOST_LESSONS + 1)]
    for text in texts:
        template.learn(text, "AAAA")
    assert template.read(texts[-2]) == bytes(3)
    assert template.read(texts[-1]) is None
