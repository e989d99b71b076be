"""The agent under test: a process that the instrument starts and stops, or one that already runs, at a URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
from pydantic import ValidationError
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.tracing import OUTPUT_FOLDER

from turngap.model.agent_figures import AgentGpu
from turngap.model.sip_url import is_sip_url, parse_sip_url
from turngap.processes import child

READY_TIMEOUT_S = 180.0
STOP_GRACE_S = 10.0
_ERROR = "turngap: error: "
_EXCEPTION = re.compile(r"\b(?:\w+\.)*\w*(?:Error|Exception)\b(?:: .+)?$")
_POINTER = re.compile(r"\bsee\b.*\b(?:above|below|stack ?trace|trace ?back|root cause|logs?)\b", re.IGNORECASE)
"""A line that refers to another one for the cause."""
_NEWS = re.compile(r" (INFO|DEBUG) ")
_LOG_TAIL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Ready:
    """The message of an agent whose models are loaded and warm."""

    url: str
    """The URL of its Media Streams WebSocket."""
    http: str | None = None
    """The base URL of its metrics page."""
    models: dict[str, str] = field(default_factory=dict)
    ready_s: float | None = None
    memory_mib: dict[str, float] = field(default_factory=dict)
    """By engine, the GPU memory that its loading added; empty without a GPU."""
    gpu: AgentGpu | None = None
    """The GPU that it uses; None without one."""


class RunningAgent:
    """The agent of one run."""

    def __init__(
        self,
        ready: Ready,
        process: asyncio.subprocess.Process | None = None,
        log: Path | None = None,
        log_start: int = 0,
    ) -> None:
        self.ready = ready
        self._process = process
        self._log, self._log_start = log, log_start
        self._stopping = False
        self._drain = asyncio.create_task(_discard_output(process)) if process is not None else None

    @classmethod
    async def start(
        cls,
        command: list[str],
        *,
        log: Path,
        endpoint: str | None,
        nice: int = 0,
        timeout_s: float = READY_TIMEOUT_S,
    ) -> Self:
        """Start `command` and wait for its ready line; its stderr goes to `log`, its spans to `endpoint`.

        Raises:
            AgentError: it ended, its ready line is malformed, or it was not ready in time; it no longer runs then.
        """
        # Engines in processes of their own write their whole output beside the log.
        environment = {**agent_environment(endpoint), OUTPUT_FOLDER: str(log.parent.absolute())}
        with log.open("ab") as stderr:
            log_start = stderr.tell()
            process = await child.start_child(command, stderr=stderr, env=environment, nice=nice)
        try:
            async with asyncio.timeout(timeout_s):
                ready = await _read_ready(process, log, log_start)
        except TimeoutError:
            await child.stop_child(process, grace_s=1.0)
            raise AgentError(f"the agent was not ready within {timeout_s:g} s{_describe_log(log, log_start)}") from None
        except BaseException:
            await child.stop_child(process, grace_s=1.0)
            raise
        return cls(ready, process, log, log_start)

    @classmethod
    def at(cls, url: str) -> Self:
        """Return an agent that already runs.

        Raises:
            UsageError: `url` is neither a WebSocket URL nor one of SIP.
        """
        return cls(Ready(url=url if is_sip_url(url) else check_url(url)))

    @property
    def ours(self) -> bool:
        """True if the instrument started it."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The process id; None for an agent at a URL."""
        return self._process.pid if self._process is not None else None

    @property
    def gpu_uuid(self) -> str:
        """The UUID of its GPU; "" where it uses none or its ready line does not name it."""
        return self.ready.gpu.uuid if self.ready.gpu is not None else ""

    async def died(self) -> str:
        """Wait until the agent ends although it was not stopped; return a line that says how, and the cause."""
        if self._process is None:
            await asyncio.Event().wait()
        assert self._process is not None
        status = await self._process.wait()
        if self._stopping:
            await asyncio.Event().wait()
        return f"the agent died ({_describe_status(status)}){_describe_log(self._log, self._log_start)}"

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End it if the instrument started it: SIGTERM, so that it flushes its spans; SIGKILL after `grace_s`."""
        self._stopping = True
        if self._process is not None:
            await child.stop_child(self._process, grace_s=grace_s)
        if self._drain is not None:
            await self._drain


def serve_command(
    profile: Path,
    inject: tuple[str, ...] = (),
    *,
    live_spans: bool = False,
    inject_faults: bool = False,
    sample_stacks: bool = False,
) -> list[str]:
    """Return the command that serves the profile in that file on a free port.

    With `live_spans` its spans are sent turn by turn, else at the end of each call. With `inject_faults` its callers
    may ask for faults. With `sample_stacks` it records what its threads do.
    """
    injected = [part for delay in inject for part in ("--inject", delay)]
    chosen = {"--live-spans": live_spans, "--inject-faults": inject_faults, "--sample-stacks": sample_stacks}
    flags = [flag for flag, wanted in chosen.items() if wanted]
    return child.python_command("turngap_agent", "serve", "--profile", str(profile), "--port", "0", *injected, *flags)


def check_url(url: str, also: str = "") -> str:
    """Return `url` if it can be the URL of a Media Streams agent; `also` says what else could be given.

    Raises:
        UsageError: it is not a WebSocket URL.
    """
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not port_fits:
        raise UsageError(
            f"--url {url!r}: expected ws://HOST:PORT/PATH or wss://…, as in ws://127.0.0.1:8080/twilio/media{also}"
        )
    return url


def is_this_host(url: str) -> bool:
    """Return whether the URL's host is an address of this machine, so that both sides read one clock."""
    host = (parse_sip_url(url).host if is_sip_url(url) else urlsplit(url).hostname or "").lower()
    if host in ("localhost", socket.gethostname().lower()):
        return True
    own = {address.address.partition("%")[0] for listed in psutil.net_if_addrs().values() for address in listed}
    return host in own or host.startswith("127.")


def agent_environment(endpoint: str | None) -> dict[str, str]:
    """Return our environment without the user's OpenTelemetry and Twilio settings, and without the metrics' token.

    The first would send the spans elsewhere; with the tokens the agent would accept only calls that Twilio signed, and
    keep its metrics from us.
    """
    left_out = ("OTEL_", "TWILIO_", "TURNGAP_METRICS_TOKEN")
    env = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    if endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        for name in ("NO_PROXY", "no_proxy"):  # the exporter would send local spans through a proxy
            env[name] = ",".join(filter(None, [env.get(name, ""), "127.0.0.1", "localhost"]))
    return env


async def _read_ready(process: asyncio.subprocess.Process, log: Path, log_start: int) -> Ready:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        message = _parse_object(line)
        if message is not None and message.get("event") == "ready":
            if not isinstance(message.get("url"), str):
                raise AgentError(f"the agent's ready line has no `url`: {line[:200]!r}")
            return Ready(
                url=message["url"],
                http=message.get("http"),
                models={str(stage): str(text) for stage, text in (message.get("models") or {}).items()},
                ready_s=message.get("ready_s"),
                memory_mib={str(part): float(mib) for part, mib in (message.get("memory_mib") or {}).items()},
                gpu=_parse_gpu(message.get("gpu")),
            )
    status = await process.wait()
    raise AgentError(f"the agent did not start ({_describe_status(status)}){_describe_log(log, log_start)}")


def _parse_gpu(gpu: object) -> AgentGpu | None:
    if gpu is None:
        return None
    try:
        return AgentGpu.model_validate(gpu)
    except ValidationError:
        raise AgentError(f"the agent's ready line has a `gpu` without its uuid: {str(gpu)[:200]}") from None


def _parse_object(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return None


async def _discard_output(process: asyncio.subprocess.Process) -> None:
    """Read what it prints after its ready line: an agent must not block on a full pipe."""
    assert process.stdout is not None
    while await process.stdout.read(1 << 16):
        pass


def _describe_status(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit code {status}"


def _describe_log(log: Path | None, start: int) -> str:
    """Return ": CAUSE; log: PATH" of the agent whose output begins at byte `start` of its log."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
        cause = find_cause(file.read().decode("utf-8", "replace").splitlines())
    return f": {cause[:300]}; log: {log}" if cause else f" without a message; log: {log}"


def find_cause(lines: Sequence[str]) -> str:
    """Return the line of an agent's log that best explains why it ended; "" without one.

    In order of preference: its own last error line, the last exception, the last line. Lines at level INFO or DEBUG
    and lines that only refer to another one ("See stack trace above") are left out.
    """
    texts = [line.strip() for line in lines if re.search(r"\w", line) and not _NEWS.search(line)]
    texts = [text for text in texts if not _POINTER.search(text)] or texts
    errors = [text.removeprefix(_ERROR) for text in texts if text.startswith(_ERROR)]
    exceptions = [match[0] for text in texts if (match := _EXCEPTION.search(text))]
    return next((candidates[-1] for candidates in (errors, exceptions, texts) if candidates), "")
