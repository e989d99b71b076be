"""`python -m pipeline serve`: loads a profile's engines, serves calls until SIGTERM, says when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from pipeline import clock, profile
from pipeline.errors import UsageError
from pipeline.inject import Injection
from pipeline.telephony import MEDIA_PATH

SWITCH_INTERVAL_S = 0.0005
"""How long the event loop waits for a thread that holds the interpreter; Python's own 5 ms would be heard in a turn."""
GRACE_S = 3
MAX_MESSAGE_BYTES = 262_144

_log = logging.getLogger("turngap.serve")


def add_parser(commands: Any) -> None:
    """Declare the command to argparse."""
    parser = commands.add_parser("serve", help="answer calls", description=__doc__)
    parser.add_argument("--profile", default="cpu", metavar="NAME", help="a shipped profile or a .yaml file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--inject", action="append", default=[], metavar="STAGE=MS", help="delay a stage, for tests")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; gives the exit code.

    Raises:
        TurngapError: the profile, an argument or the port is no good, or an engine does not load.
    """
    started_ns = clock.now_ns()
    chosen = profile.load(arguments.profile, tuple(arguments.overrides))
    injection = Injection.parse(arguments.inject)
    listener = listen(arguments.host, arguments.port)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with _stdout_for_us_alone() as stdout, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(chosen, injection, listener, stdout, started_ns))


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
    return listener


async def _serve(
    chosen: profile.Profile, injection: Injection, listener: socket.socket, stdout: TextIO, started_ns: int
) -> int:
    # The web framework and the engines' packages are imported here: a bad argument is answered without them.
    import uvicorn

    from pipeline import engines, export, server
    from pipeline.admission import Admission
    from pipeline.call import Agent
    from pipeline.metrics import LoopLag, Metrics

    class Server(uvicorn.Server):
        """Says when it is ready; ends with exit code 0 after a signal, which uvicorn would raise again."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _say_ready(stdout, chosen, listener, loaded.models, started_ns)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    if injection:
        _log.warning("injected delays: %s", injection)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    loading = asyncio.create_task(engines.load(chosen))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        _log.info("stopped while loading")
        logging.shutdown()
        os._exit(0)  # a model that loads on a thread cannot be interrupted, and nothing is to be saved
    loaded = loading.result()
    gc.collect()
    gc.freeze()

    exporter = export.from_environment(chosen.name)
    admission = Admission(chosen.limits.simultaneous_calls, os.environ.get("TWILIO_AUTH_TOKEN") or None)
    lag = LoopLag()
    metrics = Metrics(lag, lambda: admission.active, lambda: exporter.lost_spans if exporter else 0)
    app = server.create_app(Agent(chosen, loaded, injection, metrics, exporter), admission, lag)
    config = uvicorn.Config(
        app,
        ws_per_message_deflate=False,  # speech does not compress, and it costs time on every message
        ws_max_size=MAX_MESSAGE_BYTES,
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,  # `Asked` reads them itself, for signatures
        timeout_graceful_shutdown=GRACE_S,
    )
    http = Server(config)
    serving = asyncio.create_task(http.serve([listener]))
    try:
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
        http.should_exit = True
        await serving
    finally:
        stop.cancel()
        if exporter is not None:
            await asyncio.to_thread(exporter.close)
        await loaded.close()
    _log.info("stopped")
    return 0


def _say_ready(
    stdout: TextIO, chosen: profile.Profile, listener: socket.socket, models: dict[str, str], started_ns: int
) -> None:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    ready = {
        "event": "ready",
        "url": f"ws://{place}{MEDIA_PATH}",
        "http": f"http://{place}",
        "port": port,
        "pid": os.getpid(),
        "profile": chosen.name,
        "models": models,
        "ready_s": round((clock.now_ns() - started_ns) / 1e9, 3),
        "boot_id": clock.boot_id(),
        "anchor_unix_ns": clock.ANCHOR_UNIX_NS,
    }
    print(json.dumps(ready), file=stdout, flush=True)


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
