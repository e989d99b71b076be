"""Receives spans as OTLP/HTTP and prints them, in a process of its own, so that pacing never waits for it.

`python -m turngap.processes.span_server PORT FILE` prints a JSON line with its endpoint. Then it writes each new span
of this boot as a JSON line to stdout and to the end of FILE. Spans without our attributes are only counted. It ends
with its stdin.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import zlib
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from turngap_agent import tracing

PATH = "/v1/traces"
_LARGEST_BODY = 64 << 20
Row = dict[str, Any]


def parse_request(body: bytes, boot_id: str) -> tuple[list[Row], int, int]:
    """Parse the spans in a serialised `ExportTraceServiceRequest`.

    Returns:
        Rows (`id`, then the fields of `tracing.Span`), the number of spans without our attributes, and the number from
        another boot, whose monotonic times can't be compared.

    Raises:
        DecodeError: `body` is not such a message.
    """
    new_rows: list[Row] = []
    foreign = other_boot = 0
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        boot = _attributes(resource.resource.attributes).get(tracing.BOOT_ID)
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = _attributes(span.attributes)
                row: Row = {"id": f"{span.trace_id.hex()}/{span.span_id.hex()}", "name": span.name}
                try:
                    row |= {
                        "start_ns": int(attributes.pop(tracing.START_NS)),
                        "end_ns": int(attributes.pop(tracing.END_NS)),
                        "call_sid": str(attributes.pop(tracing.CALL_SID)),
                        "turn": int(attributes.pop(tracing.TURN, -1)),
                        "attempt": int(attributes.pop(tracing.ATTEMPT, -1)),
                    }
                except (KeyError, TypeError, ValueError):
                    foreign += 1
                    continue
                if boot != boot_id:
                    other_boot += 1
                    continue
                new_rows.append(row | {"attributes": attributes})
    return new_rows, foreign, other_boot


class Receiver(ThreadingHTTPServer):
    """Receives spans on any number of connections and passes each on once."""

    daemon_threads = True

    def __init__(self, port: int, outlets: list[IO[str]], boot_id: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._outlets = outlets
        self._boot_id = boot_id
        self._seen: set[str] = set()
        self._counts = {"duplicate": 0, "foreign": 0, "other_boot": 0, "malformed": 0}
        self._lock = threading.Lock()

    def receive(self, body: bytes) -> None:
        """Pass on the new spans of a request, and a line of counts if one has changed.

        Raises:
            DecodeError: `body` is not an `ExportTraceServiceRequest`.
        """
        rows, foreign, other_boot = parse_request(body, self._boot_id)
        with self._lock:
            before = dict(self._counts)
            for row in rows:
                if row["id"] in self._seen:
                    self._counts["duplicate"] += 1
                    continue
                self._seen.add(row["id"])
                for outlet in self._outlets:
                    outlet.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._counts["foreign"] += foreign
            self._counts["other_boot"] += other_boot
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
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            return self._answer(413, f"a Content-Length of at most {_LARGEST_BODY} is needed")
        try:
            self.server.receive(_decompress(self.rfile.read(int(length)), self.headers.get("Content-Encoding", "")))
        except (DecodeError, OSError, EOFError, zlib.error, ValueError) as error:
            self.server.count_malformed()
            return self._answer(400, f"not an ExportTraceServiceRequest: {error}")
        return self._answer(200, "")

    def _answer(self, status: int, text: str) -> None:
        """Respond; an empty body is an empty `ExportTraceServiceResponse`: everything was accepted."""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _decompress(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case _:
            raise ValueError(f"Content-Encoding {encoding!r} is unknown")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _attribute_value(pair.value) for pair in pairs}


def _attribute_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_attribute_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind in ("string_value", "bool_value", "int_value", "double_value") else None


def main(arguments: list[str]) -> None:
    """Serve until stdin ends."""
    port, path = int(arguments[0]), Path(arguments[1])
    with path.open("a", encoding="utf-8") as file:
        try:
            server = Receiver(port, [sys.stdout, file], tracing.read_boot_id())
        except OSError as error:
            print(json.dumps({"error": error.strerror or str(error)}), flush=True)
            return
        print(json.dumps({"endpoint": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        sys.stdin.buffer.read()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
