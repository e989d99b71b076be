"""A small HTTP server for tests of downloads: it serves bytes, honours Range, and fails in configured ways."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What it serves and how, and the requests it received. Queries do not count."""

    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """Paths answered with an error status."""
    redirects: dict[str, str] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    """Each entry cuts one answer off after so many bytes."""
    ranges: bool = True
    gate: threading.Event | None = None
    """Answers with a body wait for it."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers (lower case) of every request."""
    url: str = ""

    def requested_ranges(self) -> list[str | None]:
        """The Range header of every request, in order."""
        return [headers.get("range") for _, headers in self.requests]


@contextmanager
def serve(state: FileServer | None = None) -> Iterator[FileServer]:
    """Run a server on a free port of the loopback interface."""
    state = state or FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = self.path.partition("?")[0]
            status = state.statuses.get(path, 200 if path in state.files else 404)
            if status != 200:
                self.send_error(status)
                return
            self._send(state.files[path])

        def _send(self, body: bytes) -> None:
            start = 0
            byte_range = self.headers.get("Range")
            if byte_range and state.ranges:
                start = int(byte_range.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if byte_range and state.ranges else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if state.gate:
                state.gate.wait(30)
            part = body[start:]
            self.wfile.write(part[: state.break_after.pop(0)] if state.break_after else part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
