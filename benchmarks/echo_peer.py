"""The other end of `callers.py`'s calls: a bare agent that sends a message for each message, encoded beforehand.

    python benchmarks/echo_peer.py [--cpu 1]

It speaks just enough of WebSockets and of Twilio's format, on one thread without an event loop of Python's. Each media
message is answered at once with 20 ms of audio: silence, or 200 ms after the end of an utterance the next piece of a
reply of 1.2 s. It knows the end of an utterance by one sample in each message: the callers' voice has a constant level.
Prints its port; ends when its stdin does.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import select
import socket
import sys

import numpy as np
from turngap_agent.telephony import mulaw

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
PAYLOAD_CHARS = 216
"""20 ms of μ-law as base64."""
AFTER_PAYLOAD = len('"},"streamSid":"MZ') + 32 + len('"}')
LOUD_CODE = 0x50
"""μ-law codes under it, without their sign, are over the line's noise by far."""
PATIENCE_FRAMES, REPLY_FRAMES = 10, 60


def make_reply() -> list[bytes]:
    """Return the ends of the messages of a reply: noise in syllables, four a second."""
    at = np.arange(REPLY_FRAMES * 160)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], len(at))
    pcm = (signs * 5000 * np.abs(np.sin(np.pi * 4 * at / 8000))).astype(np.int16)
    return [base64.b64encode(mulaw.encode(pcm[first : first + 160])) + b'"}}' for first in range(0, len(at), 160)]


class Stream:
    """One call."""

    __slots__ = ("has_spoken", "is_open", "prefix", "quiet", "reply", "rest", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.is_open = False
        self.prefix = b""
        """A message up to its payload, once the stream's name is known."""
        self.has_spoken = False
        self.quiet = 0
        self.reply = REPLY_FRAMES
        """The next piece of the reply."""


class EchoPeer:
    """Serves streams on a port of its own."""

    def __init__(self) -> None:
        self._reply = make_reply()
        self._silence = base64.b64encode(mulaw.SILENCE * 160) + b'"}}'
        self._streams: dict[int, Stream] = {}
        self._poll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]

    def serve(self, until_fd: int) -> None:
        """Serve until `until_fd` ends."""
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._poll.register(until_fd, select.EPOLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == until_fd:
                    return
                if fd == self._listener.fileno():
                    sock, _ = self._listener.accept()
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._streams[sock.fileno()] = Stream(sock)
                    self._poll.register(sock.fileno(), select.EPOLLIN)
                else:
                    self._read(fd, self._streams[fd])

    def _read(self, fd: int, stream: Stream) -> None:
        try:
            data = stream.sock.recv(65536)
            if data:
                stream.rest = self._take(stream, stream.rest + data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):  # the caller does not read, or is gone
            data = b""
        if not data:
            self._poll.unregister(fd)
            stream.sock.close()
            del self._streams[fd]

    def _take(self, stream: Stream, data: bytes) -> bytes:
        """Handle the messages in `data`; return what is left."""
        if not stream.is_open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                return head
            names = (line.partition(b":") for line in head.split(b"\r\n"))
            key = next(value.strip() for name, _, value in names if name.lower() == b"sec-websocket-key")
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            stream.sock.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            stream.is_open = True
        at = 0
        while len(data) - at >= 8:
            size, header = data[at + 1] & 127, 6
            if size == 126:
                size, header = data[at + 2] << 8 | data[at + 3], 8
            beyond = at + header + size
            if beyond > len(data):
                break
            if stream.prefix and size > PAYLOAD_CHARS:
                self._answer(stream, data, at + header, size)
            elif data[at] & 15 == 8:
                stream.sock.send(b"\x88\x02\x03\xe8")
            else:
                self._take_start(stream, data[at + header - 4 : at + header], data[at + header : beyond])
            at = beyond
        return data[at:]

    def _take_start(self, stream: Stream, mask: bytes, masked: bytes) -> None:
        message = json.loads(bytes(byte ^ mask[place & 3] for place, byte in enumerate(masked)))
        if message["event"] == "start":
            text = f'{{"event":"media","streamSid":"{message["streamSid"]}","media":{{"payload":"'.encode()
            size = len(text) + len(self._silence)
            stream.prefix = bytes((0x81, 126)) + size.to_bytes(2, "big") + text

    def _answer(self, stream: Stream, data: bytes, at: int, size: int) -> None:
        """Answer the media message whose masked text starts at `at`."""
        place = size - AFTER_PAYLOAD - PAYLOAD_CHARS // 2  # a group of four characters, three samples
        group = bytes(data[at + place + n] ^ data[at - 4 + (place + n & 3)] for n in range(4))
        if binascii.a2b_base64(group)[1] & 0x7F < LOUD_CODE:
            stream.has_spoken, stream.quiet = True, 0
        elif stream.has_spoken:
            stream.quiet += 1
            if stream.quiet == PATIENCE_FRAMES:
                stream.has_spoken, stream.reply = False, 0
        if stream.reply < REPLY_FRAMES:
            tail = self._reply[stream.reply]
            stream.reply += 1
        else:
            tail = self._silence
        stream.sock.send(stream.prefix + tail)


def main() -> None:
    """Print the port and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", type=int, help="the CPU to run on")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    peer = EchoPeer()
    print(peer.port, flush=True)
    peer.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
