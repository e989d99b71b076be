"""Receives spans as OTLP/HTTP and prints them, in a process of its own, so that pacing never waits for it.

`python -m turngap.processes.span_server PORT FILE [--other-boots] [NAME…]` prints a JSON line with its endpoint. Then
it writes each new span of this boot as a JSON line to stdout and to the end of FILE, with `--other-boots` those of
other hosts too. Spans without our attributes are only counted, but for those of the given names. Its end is that of
its stdin.
"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from turngap_agent import tracing

from turngap.clock import Clock, SystemClock

PATH = "/v1/traces"
LARGEST_BODY = 64 << 20
"""Packed, and unpacked."""
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is passed on besides our agent's spans of this boot."""

    names: frozenset[str] = frozenset()
    """Names of another framework's spans."""
    other_boots: bool = False
    """Our agent's spans with another boot's monotonic times, which have to be aligned."""


@dataclass(slots=True)
class ParsedRequest:
    """The spans of a request."""

    rows: list[Row]
    """`id`, then the fields of `tracing.Span`; of another framework's span `id`, `foreign` (its trace), `name`, its
    times on this host's monotonic clock, `attributes`, `resource`."""
    foreign: int = 0
    """Spans without our attributes that nobody asked for."""
    other_boot: int = 0
    """Spans of another boot, whose monotonic times can't be compared."""


def parse_request(body: bytes, boot_id: str, wanted: Wanted = Wanted(), anchor_ns: int = 0) -> ParsedRequest:
    """Parse the spans in a serialised `ExportTraceServiceRequest`; `anchor_ns` is the unix time minus the monotonic.

    Raises:
        DecodeError: `body` is not such a message.
    """
    parsed = ParsedRequest([])
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _attributes(resource.resource.attributes)
        boot = about.get(tracing.BOOT_ID)
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = _attributes(span.attributes)
                row: Row = {"id": f"{span.trace_id.hex()}/{span.span_id.hex()}", "name": span.name}
                try:
                    row |= {
                        "start_ns": _read_int(attributes.pop(tracing.START_NS)),
                        "end_ns": _read_int(attributes.pop(tracing.END_NS)),
                        "call_sid": str(attributes.pop(tracing.CALL_SID)),
                        "turn": _read_int(attributes.pop(tracing.TURN, -1)),
                        "attempt": _read_int(attributes.pop(tracing.ATTEMPT, -1)),
                    }
                except (KeyError, TypeError, ValueError):
                    if span.name not in wanted.names:
                        parsed.foreign += 1
                        continue
                    times = {
                        "start_ns": span.start_time_unix_nano - anchor_ns,
                        "end_ns": span.end_time_unix_nano - anchor_ns,
                    }
                    row |= {"foreign": span.trace_id.hex(), **times, "resource": about}
                else:
                    if boot != boot_id and not wanted.other_boots:
                        parsed.other_boot += 1
                        continue
                    if boot != boot_id:
                        attributes[tracing.BOOT_ID] = str(boot)
                parsed.rows.append(row | {"attributes": attributes})
    return parsed


class Receiver(ThreadingHTTPServer):
    """Receives spans on any number of connections and passes each on once."""

    daemon_threads = True

    def __init__(
        self, port: int, outlets: list[IO[str]], boot_id: str, wanted: Wanted = Wanted(), clock: Clock | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._outlets = outlets
        self._boot_id, self._wanted = boot_id, wanted
        self._clock = clock or SystemClock()
        self._seen: set[str] = set()
        self._counts = {"duplicate": 0, "foreign": 0, "other_boot": 0, "malformed": 0}
        self._lock = threading.Lock()

    def receive(self, body: bytes) -> None:
        """Pass on the new spans of a request, and a line of counts if one has changed.

        Raises:
            DecodeError: `body` is not an `ExportTraceServiceRequest`.
        """
        # Read for each request: the wall clock may be set while a run lasts.
        anchor_ns = self._clock.unix_ns() - self._clock.now_ns()
        parsed = parse_request(body, self._boot_id, self._wanted, anchor_ns)
        with self._lock:
            before = dict(self._counts)
            for row in parsed.rows:
                if row["id"] in self._seen:
                    self._counts["duplicate"] += 1
                    continue
                self._seen.add(row["id"])
                for outlet in self._outlets:
                    outlet.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._counts["foreign"] += parsed.foreign
            self._counts["other_boot"] += parsed.other_boot
            self._write_counts(before)

    def count_malformed(self) -> None:
        """Count a malformed request."""
        with self._lock:
            before = dict(self._counts)
            self._counts["malformed"] += 1
            self._write_counts(before)

    def _write_counts(self, before: dict[str, int]) -> None:
        if before != self._counts:
            self._outlets[0].write(json.dumps({"counts": self._counts}) + "\n")
        for outlet in self._outlets:
            outlet.flush()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that break: the exporter tries again."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.path != PATH:
            return self._answer(404, f"only {PATH} is served")
        if not self.headers.get("Content-Type", "").startswith("application/x-protobuf"):
            return self._answer(415, "only OTLP as application/x-protobuf is understood")
        length = self.headers.get("Content-Length", "")
        if re.fullmatch("[0-9]{1,9}", length) is None or int(length) > LARGEST_BODY:
            self.close_connection = True
            return self._answer(413, f"a Content-Length of at most {LARGEST_BODY} is needed")
        try:
            self.server.receive(decompress(self.rfile.read(int(length)), self.headers.get("Content-Encoding", "")))
        except (DecodeError, ValueError) as error:
            self.server.count_malformed()
            return self._answer(400, f"not an ExportTraceServiceRequest: {error}")
        return self._answer(200, "")

    def _answer(self, status: int, text: str) -> None:
        """Respond; an empty body is an empty `ExportTraceServiceResponse`: everything was accepted."""
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def decompress(body: bytes, encoding: str) -> bytes:
    """Return the body of a request without its Content-Encoding.

    Raises:
        ValueError: the encoding is unknown, the data are damaged, or unpack to more than `LARGEST_BODY`.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise ValueError(f"Content-Encoding {encoding[:40]!r} is unknown")
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        data = unpacker.decompress(body, LARGEST_BODY)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {LARGEST_BODY} bytes")
    if not unpacker.eof:
        raise ValueError("damaged: it ends too soon")
    return data


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _attribute_value(pair.value) for pair in pairs}


def _read_int(value: Any) -> int:
    """Return a number of 64 bits.

    Raises:
        TypeError, ValueError: it is none.
    """
    if abs(number := int(value)) >= 2**63:
        raise ValueError
    return number


def _attribute_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_attribute_value(item) for item in value.array_value.values]
    if kind == "double_value" and not math.isfinite(value.double_value):
        return None  # no time and no count; JSON has no such number either
    return getattr(value, kind) if kind in ("string_value", "bool_value", "int_value", "double_value") else None


def main(arguments: list[str]) -> None:
    """Serve until stdin ends."""
    port, path = int(arguments[0]), Path(arguments[1])
    other_boots = "--other-boots" in arguments[2:]
    wanted = Wanted(frozenset(arguments[2:]) - {"--other-boots"}, other_boots)
    with path.open("a", encoding="utf-8") as file:
        try:
            server = Receiver(port, [sys.stdout, file], tracing.read_boot_id(), wanted)
        except OSError as error:
            print(json.dumps({"error": error.strerror or str(error)}), flush=True)
            return
        print(json.dumps({"endpoint": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        sys.stdin.buffer.read()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
