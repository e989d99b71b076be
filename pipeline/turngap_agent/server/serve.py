"""`python -m turngap_agent serve`: load a profile's engines and answer calls until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from turngap_agent import clock, profile
from turngap_agent.command_line import print_error
from turngap_agent.errors import TurngapError, UsageError
from turngap_agent.inject import Injection
from turngap_agent.server.leaving import LEAVE_S, leave_within
from turngap_agent.telemetry import logs

SWITCH_INTERVAL_S = 0.0005
"""How long the event loop waits for a thread that holds the interpreter; Python's 5 ms lengthens turns."""
_log = logging.getLogger("turngap.hosting")


def run(
    profile_name: str,
    *,
    host: str,
    port: int,
    overrides: Sequence[str] = (),
    inject: Sequence[str] = (),
    inject_faults: bool = False,
    live_spans: bool = False,
    sample_stacks: bool = False,
    unsigned: bool = False,
    log_json: bool = False,
    log_transcripts: bool = False,
) -> int:
    """Serve; return the exit code. `unsigned` allows strangers on a public address, `inject_faults` faults in calls.

    `sample_stacks` records what the threads do. The log has one JSON object a line with `log_json`, and what is said
    in calls with `log_transcripts`.

    An engine that does not load, or whatever else ends the agent, is one line on stderr.

    Raises:
        TurngapError: the profile, an argument or the port is invalid.
    """
    started_ns = clock.now_ns()
    chosen = profile.load(profile_name, tuple(overrides))
    check_exposure(host, unsigned=unsigned)
    injection = Injection.parse(inject, faults=inject_faults)
    if inject_faults:
        check_private(host)
    listener = listen(host, port)
    logs.configure(as_json=log_json, transcripts=log_transcripts)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with _private_stdout() as stdout, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        # The web framework is imported here, so that a bad argument is reported without waiting for it.
        from turngap_agent.server import hosting

        served = hosting.host(
            chosen, injection, listener, stdout, started_ns, live_spans=live_spans, sample_stacks=sample_stacks
        )
        # Errors are told before the runner ends: it waits for threads, and a stuck engine's never ends.
        try:
            code = runner.run(served)
        except TurngapError as error:
            code = print_error(str(error), error.exit_code)
        except ModuleNotFoundError:  # the command says how it is installed
            raise
        except Exception:  # noqa: BLE001  # whatever it is, it is told before the runner ends
            _log.exception("the agent ends by a defect of its own")
            code = TurngapError.exit_code
        leave_within(LEAVE_S, code)
        return code


def check_exposure(host: str, *, unsigned: bool) -> None:
    """Check that calls from other machines are signed.

    Raises:
        UsageError: (`usage.unsigned`) `host` is not this machine's loopback, and there is no TWILIO_AUTH_TOKEN.
    """
    if unsigned or os.environ.get("TWILIO_AUTH_TOKEN") or _is_loopback(host):
        return
    raise UsageError(
        f"--host {host}: anyone who reaches this address could place calls; set TWILIO_AUTH_TOKEN, so that Twilio's "
        "signatures are checked, or give --unsigned",
        code="usage.unsigned",
    )


def check_private(host: str) -> None:
    """Check that nobody on another machine can ask for faults.

    Raises:
        UsageError: (`usage.inject-faults`) `host` is not this machine's loopback.
    """
    if not _is_loopback(host):
        raise UsageError(
            f"--inject-faults with --host {host}: any caller could break the agent; leave one of them out",
            code="usage.inject-faults",
        )


def _is_loopback(host: str) -> bool:
    """Whether every address of `host` is a loopback one; unknown hosts are refused by `listen`."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return True
    return all(ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback for *_, address in found)


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; called before any model is loaded.

    Raises:
        UsageError: (`usage.port`) the port is taken or invalid, or the host is not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: expected 0 to 65535", code="usage.port")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"cannot listen on {host} port {port}: {why}; choose another with --host or --port", code="usage.port"
        ) from None
    # Accepted sockets inherit it. Python's event loop sets it only on sockets made with an explicit protocol number;
    # Nagle's algorithm would hold the second message of a reply back until the first is acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _private_stdout() -> Iterator[TextIO]:
    """Yield stdout for the ready line, and send what libraries print to stderr."""
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
