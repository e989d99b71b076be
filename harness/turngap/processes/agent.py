"""The agent under test: another process that we start and stop, or one that runs already and is reached by its URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import ValidationError
from turngap_agent.errors import AgentError, UsageError

from turngap.model.agent_figures import AgentGpu
from turngap.processes import child

READY_TIMEOUT_S = 180.0
STOP_GRACE_S = 10.0
_ERROR = "turngap: error: "


@dataclass(frozen=True, slots=True)
class Ready:
    """What an agent says of itself when its models are warm."""

    url: str
    """Where its Media Streams WebSocket is."""
    http: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    ready_s: float | None = None
    memory_mib: dict[str, float] = field(default_factory=dict)
    """By engine, how much more of the GPU was in use once it had loaded; empty without a GPU."""
    gpu: AgentGpu | None = None
    """Which GPU it uses; None without one."""


class Agent:
    """One agent for one run."""

    def __init__(
        self, ready: Ready, process: asyncio.subprocess.Process | None = None, log: Path | None = None
    ) -> None:
        self.ready = ready
        self._process = process
        self._log = log
        self._stopping = False
        self._drain = asyncio.create_task(_discard(process)) if process is not None else None

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
            AgentError: it ended, said something else, or was not ready in time; nothing of it is left running.
        """
        with log.open("ab") as stderr:
            process = await child.start(command, stderr=stderr, env=agent_environment(endpoint), nice=nice)
        try:
            async with asyncio.timeout(timeout_s):
                ready = await _read_ready(process, log)
        except TimeoutError:
            await child.stop(process, grace_s=1.0)
            raise AgentError(f"the agent was not ready within {timeout_s:g} s{_last_words(log)}") from None
        except BaseException:
            await child.stop(process, grace_s=1.0)
            raise
        return cls(ready, process, log)

    @classmethod
    def at(cls, url: str) -> Self:
        """An agent that runs already.

        Raises:
            UsageError: `url` is no WebSocket URL.
        """
        return cls(Ready(url=checked_url(url)))

    @property
    def ours(self) -> bool:
        """True where we started it."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The process we started; None where it is not ours."""
        return self._process.pid if self._process is not None else None

    @property
    def gpu_uuid(self) -> str:
        """Of the GPU it says it uses; "" where it uses none or does not say."""
        return self.ready.gpu.uuid if self.ready.gpu is not None else ""

    async def died(self) -> str:
        """Return, with one line that says how, when the agent ends without being asked to; else never."""
        if self._process is None:
            await asyncio.Event().wait()
        assert self._process is not None
        status = await self._process.wait()
        if self._stopping:
            await asyncio.Event().wait()
        return f"the agent died ({_how(status)}){_last_words(self._log)}"

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End it, where it is ours: SIGTERM, so that it flushes its spans; SIGKILL after `grace_s`."""
        self._stopping = True
        if self._process is not None:
            await child.stop(self._process, grace_s=grace_s)
        if self._drain is not None:
            await self._drain


def serve_command(profile: Path, inject: tuple[str, ...] = (), *, live_spans: bool = False) -> list[str]:
    """The command that serves the profile in that file on a free port; its spans come turn by turn if asked for."""
    injected = [part for delay in inject for part in ("--inject", delay)]
    live = ["--live-spans"] if live_spans else []
    return child.python("turngap_agent", "serve", "--profile", str(profile), "--port", "0", *injected, *live)


def checked_url(url: str) -> str:
    """`url`, if it can be one of a Media Streams agent.

    Raises:
        UsageError: it is no WebSocket URL.
    """
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not port_fits:
        raise UsageError(
            f"--url {url!r}: expected ws://HOST:PORT/PATH or wss://…, as in ws://127.0.0.1:8080/twilio/media"
        )
    return url


def agent_environment(endpoint: str | None) -> dict[str, str]:
    """Our environment without what is the user's own: OpenTelemetry settings would lead the spans elsewhere, and with
    Twilio's token the agent would take only calls that Twilio signed, over TLS."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TWILIO_"))}
    if endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        for name in ("NO_PROXY", "no_proxy"):  # the exporter would send local spans through a proxy
            env[name] = ",".join(filter(None, [env.get(name, ""), "127.0.0.1", "localhost"]))
    return env


async def _read_ready(process: asyncio.subprocess.Process, log: Path) -> Ready:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        message = _message(line)
        if message is not None and message.get("event") == "ready":
            if not isinstance(message.get("url"), str):
                raise AgentError(f"the agent's ready line has no `url`: {line[:200]!r}")
            return Ready(
                url=message["url"],
                http=message.get("http"),
                models={str(stage): str(text) for stage, text in (message.get("models") or {}).items()},
                ready_s=message.get("ready_s"),
                memory_mib={str(part): float(mib) for part, mib in (message.get("memory_mib") or {}).items()},
                gpu=_gpu(message.get("gpu")),
            )
    status = await process.wait()
    raise AgentError(f"the agent did not start ({_how(status)}){_last_words(log)}")


def _gpu(said: object) -> AgentGpu | None:
    if said is None:
        return None
    try:
        return AgentGpu.model_validate(said)
    except ValidationError:
        raise AgentError(f"the agent's ready line has a `gpu` without its uuid: {str(said)[:200]}") from None


def _message(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return None


async def _discard(process: asyncio.subprocess.Process) -> None:
    """Read what else it prints: an agent must not block on a full pipe."""
    assert process.stdout is not None
    while await process.stdout.read(1 << 16):
        pass


def _how(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit code {status}"


def _last_words(log: Path | None) -> str:
    """ ": what it said last; log: PATH"."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    # News of the calls has no bearing on its end.
    said = [line.strip() for line in lines if re.search(r"\w", line) and not re.search(r" (INFO|DEBUG) ", line)]
    errors = [line.removeprefix(_ERROR) for line in said if line.startswith(_ERROR)]
    last = errors[-1] if errors else said[-1] if said else ""
    return f": {last[:300]}; log: {log}" if last else f" without a word; log: {log}"
