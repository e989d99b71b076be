"""The agent's log: its two forms, masked numbers, and words only when they are asked for."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.telemetry import logs


@pytest.fixture
def restore_logging():
    """What pytest has set up for logging, afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger(logs.TRANSCRIPTS).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call from +15005550006", "call from +*********06"),
        ("0171 555 01 02, again", "**** *** ** 02, again"),
        ("(030) 1234567", "(***) *****67"),
        ("CA0123456789abcdef0123456789abcdef", "CA0123456789abcdef0123456789abcdef"),
        ("127.0.0.1:8080, 2026-11-30", "127.0.0.1:8080, 2026-11-30"),
        ("2026-11-30 19:48:41,123 INFO 555-010-0199", "2026-11-30 19:48:41,123 INFO ***-***-**99"),
        ("48000 samples", "48000 samples"),
        ("call me at +15005550006.", "call me at +*********06."),
        ("From:+15005550006: busy", "From:+*********06: busy"),
        ("sip:5005550006@a.example", "sip:********06@a.example"),
        ("at 12:30:45.123456", "at 12:30:45.123456"),
    ],
)
def test_telephone_numbers_are_masked(text, masked):
    """Their last two digits remain; identifiers, addresses and counts are left alone."""
    assert logs.mask_numbers(text) == masked


@given(st.integers(10**7, 10**15))
def test_no_number_gets_through(number):
    """However long it is."""
    masked = logs.mask_numbers(f"from +{number} to")
    assert str(number)[:-2] not in masked
    assert masked.endswith(f"{str(number)[-2:]} to")


def test_json_is_one_object_a_line(restore_logging):
    """A message of several lines and a traceback too, both masked."""
    out = io.StringIO()
    logs.configure(as_json=True, stream=out)
    log = logging.getLogger("turngap.test")
    log.info("two\nlines from %s", "+15005550006")
    log.error("a defect", exc_info=ValueError("+15005550006"))
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["message"] == "two\nlines from +*********06"
    assert (first["level"], first["logger"]) == ("info", "turngap.test")
    assert first["time"].endswith("+00:00")
    assert "ValueError" in second["traceback"]
    assert "15005550006" not in out.getvalue()


def test_nobody_writes_a_line_of_their_own(restore_logging):
    """What a caller sends may hold an end of line; it stays in the record's line."""
    out = io.StringIO()
    logs.configure(stream=out)
    logging.getLogger("turngap.test").warning("stream %s", "MZ1\n2026-11-30 00:00:00,000 ERROR forged\x1b[2K\u2028x")
    (line,) = out.getvalue().splitlines()
    assert line.endswith(r"stream MZ1\n2026-11-30 00:00:00,000 ERROR forged\x1b[2K\u2028x")


@pytest.mark.parametrize("asked", [False, True])
def test_words_are_logged_only_when_asked_for(restore_logging, asked):
    """Neither form has them otherwise."""
    out = io.StringIO()
    logs.configure(transcripts=asked, stream=out)
    logging.getLogger(logs.TRANSCRIPTS).info("caller %r", "my card number")
    assert ("my card number" in out.getvalue()) is asked
