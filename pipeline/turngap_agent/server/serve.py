"""`python -m turngap_agent serve`: loads a profile's engines, serves calls until SIGTERM, says when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from turngap_agent import clock, profile
from turngap_agent.errors import UsageError
from turngap_agent.inject import Injection

SWITCH_INTERVAL_S = 0.0005
"""How long the event loop waits for a thread that holds the interpreter; Python's own 5 ms would be heard in a turn."""


def add_parser(commands: Any) -> None:
    """Declare the command to argparse."""
    parser = commands.add_parser("serve", help="answer calls", description=__doc__)
    parser.add_argument("--profile", default="cpu", metavar="NAME", help="a shipped profile or a .yaml file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--inject", action="append", default=[], metavar="STAGE=MS", help="delay a stage, for tests")
    parser.add_argument("--live-spans", action="store_true", help="send spans turn by turn, not as a call ends")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; gives the exit code.

    Raises:
        TurngapError: the profile, an argument or the port is no good, or an engine does not load.
    """
    started_ns = clock.now_ns()
    live_spans: bool = arguments.live_spans
    chosen = profile.load(arguments.profile, tuple(arguments.overrides))
    injection = Injection.parse(arguments.inject)
    listener = listen(arguments.host, arguments.port)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with _stdout_for_us_alone() as stdout, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        # The web framework is imported here: a bad argument is answered without it.
        from turngap_agent.server import hosting

        return runner.run(hosting.host(chosen, injection, listener, stdout, started_ns, live_spans=live_spans))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, before any model is loaded.

    Raises:
        UsageError: the port is taken or no port, or the host is none of this machine's.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: expected 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise UsageError(f"cannot listen on {host} port {port}: {why}; choose another with --host or --port") from None
    # Accepted sockets inherit it. Python's event loop sets it only on sockets made with an explicit protocol number;
    # Nagle's algorithm would hold the second message of a reply back until the first is acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _stdout_for_us_alone() -> Iterator[TextIO]:
    """Stdout for the ready line; what libraries print goes to stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)
        yield stdout


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
