"""What a hostile agent sends as spans: refused or counted, never a crash of the receiver, and never all memory."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import zlib

import pytest
from turngap.model.span_mapping import Moment
from turngap.processes.span_receiver import parse_row
from turngap.processes.span_server import LARGEST_BODY, Receiver, decompress, parse_request
from turngap.spans.foreign import ForeignSpan, moment_ns
from turngap_agent import tracing

from tests.fuzz.wire_targets import make_request_body


@pytest.mark.parametrize(
    "values",
    [
        {tracing.START_NS: float("inf")},
        {tracing.END_NS: float("nan")},
        {tracing.START_NS: "9" * 5000},
        {tracing.END_NS: "9" * 30},
        {tracing.TURN: float("-inf")},
        {tracing.ATTEMPT: "x"},
    ],
)
def test_times_that_are_none_make_a_foreign_span(values: dict[str, object]) -> None:
    """Not finite, no number, more than 64 bits: the span is counted, not used."""
    parsed = parse_request(make_request_body(**values), "boot")
    assert parsed.rows == []
    assert parsed.foreign > 1


def test_numbers_that_json_does_not_have_are_none() -> None:
    """Of all other attributes."""
    (row,) = parse_request(make_request_body(a=float("nan"), b=float("inf"), c=0.5), "boot").rows
    span = parse_row(json.loads(json.dumps(row, allow_nan=False)))
    assert (span.attributes["a"], span.attributes["b"], span.attributes["c"]) == (None, None, 0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.7e308, -1.7e308, 2**63 - 1, "1", None, True])
def test_a_moment_beyond_all_times_is_not_known(value: object) -> None:
    """An attribute that a mapping adds to a span's time, or subtracts from it."""
    span = ForeignSpan("llm", "t", 10, 20, {"a": value}, {})
    assert moment_ns(span, Moment(span="llm", add="a")) is None
    assert moment_ns(span, Moment(span="llm", subtract="a")) is None
    assert moment_ns(span, Moment(span="llm", at="end")) == 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_not_unpacked(encoding: str) -> None:
    """64 MiB is all that a request may be, packed and unpacked."""
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    assert decompress(pack(b"a" * 1000), encoding) == b"a" * 1000
    with pytest.raises(ValueError, match="unpacks to more"):
        decompress(pack(bytes(LARGEST_BODY + 1)), encoding)
    for damaged in (b"", b"x", pack(b"a" * 1000)[:-9]):
        with pytest.raises(ValueError, match="damaged"):
            decompress(damaged, encoding)


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-1", b"1_0", b"", b"0x10"])
def test_a_length_that_is_none_is_answered(length: bytes) -> None:
    """With 413, as a body that is too large."""
    with Receiver(0, [io.StringIO()], "boot") as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as line:
            head = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: "
            line.sendall(head + length + b"\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 413 ")
        server.shutdown()
