"""The agent's process: load the engines, run the HTTP server around them, and shut down in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import TextIO, TypeVar

import uvicorn
from fastapi import FastAPI

from turngap_agent import clock, loading, tracing
from turngap_agent.call import Agent
from turngap_agent.call.announcements import make_announcements
from turngap_agent.gpu import faults
from turngap_agent.health.standstill import StandstillWatch
from turngap_agent.health.watching import start_watch
from turngap_agent.inject import Injection
from turngap_agent.inject.engines import wrap_engine
from turngap_agent.profile import Profile
from turngap_agent.replacements import Replacements
from turngap_agent.server import app as server
from turngap_agent.server.admission import Admission
from turngap_agent.server.connections import make_http_protocol
from turngap_agent.telemetry import export
from turngap_agent.telemetry.metrics import LoopLag, Metrics
from turngap_agent.telephony import MEDIA_PATH

GRACE_S = 3
"""How long sockets may take to close once the calls have had their time."""
MAX_MESSAGE_BYTES = 262_144

Result = TypeVar("Result")
_log = logging.getLogger("turngap.hosting")


class AgentHttpServer(uvicorn.Server):
    """Reports when it is ready, and leaves signals to us: uvicorn would raise them again after its end."""

    def __init__(self, app: FastAPI, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                app,
                http=make_http_protocol(),
                ws_per_message_deflate=False,  # μ-law does not compress, and trying costs time on every message
                ws_max_size=MAX_MESSAGE_BYTES,
                access_log=False,
                log_config=None,
                log_level="warning",
                proxy_headers=False,  # `RequestUrl` reads them itself, for signatures
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then report."""
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


async def host(
    profile: Profile,
    injection: Injection,
    listener: socket.socket,
    stdout: TextIO,
    started_ns: int,
    *,
    live_spans: bool = False,
    sample_stacks: bool = False,
) -> int:
    """Serve `profile` on `listener` until SIGTERM or SIGINT; print the ready line to `stdout`. Return the exit code.

    `sample_stacks`: what the threads do is recorded for traces.

    Raises:
        TurngapError: an engine does not load.
    """
    if injection:
        _log.warning("injected: %s", injection)
    stop = _stop_signal()
    loaded = await _unless_stopped(loading.load(profile, wrap_engine if injection.faults else None), stop)
    exporter = export.make_exporter(profile.name)
    announcements = await _unless_stopped(make_announcements(profile, loaded.tts), stop)
    token = os.environ.get("TWILIO_AUTH_TOKEN") or None
    admission = Admission(profile.limits.simultaneous_calls, token, profile.limits.calls_a_minute)
    lag = LoopLag()
    metrics = Metrics(lag, lambda: admission.active, lambda: exporter.lost_spans if exporter else 0, loaded.kv_cache)
    overseer = Replacements(profile, loaded, metrics)
    try:
        await _unless_stopped(overseer.keep_spares(), stop)
    except BaseException:
        await overseer.close()
        await loaded.close()
        raise
    agent = Agent(profile, loaded, injection, metrics, exporter, live_spans, announcements, overseer)
    app = server.create_app(agent, admission, lag)
    http = AgentHttpServer(app, lambda: _print_ready(stdout, profile, listener, loaded, started_ns))
    _set_aside_objects()
    health = start_watch(sample_stacks=sample_stacks)
    limits = profile.deadlines
    standstill = StandstillWatch(limits.loop_ms / 1000, limits.loop_end_s, metrics.count_block)
    serving = asyncio.create_task(http.serve([listener]))
    lost = asyncio.create_task(faults.WATCH.wait())
    try:
        await asyncio.wait((serving, stop, lost), return_when=asyncio.FIRST_COMPLETED)
        admission.drain()
        if not lost.done():
            await _wait_for_calls(admission, profile.limits.drain_s)
        http.should_exit = True
        await serving
        if lost.done():
            raise lost.result()
    finally:
        stop.cancel()
        standstill.close()
        await overseer.close()
        gpu_is_lost = lost.done()
        lost.cancel()
        if health is not None:
            await health.stop()
        if exporter is not None:
            await asyncio.to_thread(exporter.close)
        # After a fault engines may fail to close, too; the fault is the error to report.
        with contextlib.suppress(Exception) if gpu_is_lost else contextlib.nullcontext():
            await loaded.close()
    _log.info("stopped")
    return 0


def _set_aside_objects() -> None:
    """Take all objects so far from the garbage collector: they live as long as the process.

    The next full collection comes when a quarter as many objects are new as the last one left: that has to count from
    none, or more garbage of calls would wait for it.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


async def _wait_for_calls(admission: Admission, drain_s: float) -> None:
    """Return when no call is left, or after `drain_s`: those that are left are cut."""
    try:
        async with asyncio.timeout(drain_s):
            while admission.active:  # noqa: ASYNC110  # at the end of a process, for seconds
                await asyncio.sleep(0.05)
    except TimeoutError:
        _log.warning("stopped with %d calls", admission.active)


def _stop_signal() -> asyncio.Future[None]:
    """Return a future that is done on SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def set_stop() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, set_stop)
    return stop


async def _unless_stopped(loading: Coroutine[None, None, Result], stop: asyncio.Future[None]) -> Result:
    """Return what `loading` does; end the process where it is told to stop before."""
    task = asyncio.create_task(loading)
    await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        _log.info("stopped while loading")
        logging.shutdown()
        os._exit(0)  # a model that loads on a thread cannot be interrupted, and there is nothing to save
    return task.result()


def _print_ready(
    stdout: TextIO, profile: Profile, listener: socket.socket, loaded: loading.Engines, started_ns: int
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
        "profile": profile.name,
        "models": loaded.models,
        "memory_mib": loaded.memory_mib,
        "gpu": loaded.gpu.facts() if loaded.gpu is not None else None,
        "ready_s": round((clock.now_ns() - started_ns) / 1e9, 3),
        "boot_id": tracing.read_boot_id(),
        "anchor_unix_ns": clock.ANCHOR_UNIX_NS,
    }
    print(json.dumps(ready), file=stdout, flush=True)
