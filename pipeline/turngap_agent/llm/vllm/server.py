"""The process of `vllm serve`: started, watched, killed with all its children, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from turngap_agent.clock import now_ns
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm import Restart, kv_cache, log
from turngap_agent.llm.vllm.supervision import State, Supervision

CHECK_S = 2.0
"""Between health checks of a ready server; a starting one is asked four times as often."""
TELL_S = 30.0
"""Between lines that say that it is still starting."""
GRACE_S = 10.0
"""How long it may take to end before it is killed."""
_TAIL_LINES = 400
_GONE_TRY_S, _GONE_TRIES = 0.05, 100
"""Where nobody reaps orphans they stay as zombies: they are not waited for without end."""
_LINE_END = re.compile(r"[\r\n]+")
_log = logging.getLogger("turngap.vllm")


class Server:
    """One supervised server. `start`, then it lives until `close`; `state` and `why_down` say how it stands."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        healthy: Callable[[], Awaitable[bool]],
        warm: Callable[[], Awaitable[None]],
        start_limit_s: float,
        restart: Restart,
    ) -> None:
        """`healthy` asks it, `warm` readies it after each start (and raises `EngineError` where it cannot)."""
        self._command, self._environment = command, dict(environment)
        self._healthy, self._warm = healthy, warm
        self._supervision = Supervision(restart, start_limit_s, now_ns())
        self._process: asyncio.subprocess.Process | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.kv_cache_mib: float | None = None
        """What its log says the KV cache takes."""
        self._pipe: asyncio.ReadTransport | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._supervision.state

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one; also its process group."""
        return self._process.pid if self._process else None

    def why_down(self) -> str:
        """One line on why it cannot serve now."""
        return self._supervision.describe(now_ns())

    async def start(self) -> None:
        """Start it, wait until it is ready and warm, and watch it from then on.

        Raises:
            EngineError: it died, or was not ready in time; the first start is not repeated.
        """
        if (reason := await self._come_up()) is not None:
            await self._kill()
            raise EngineError(f"llm: vLLM does not start: {reason}")
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End it, in any state."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), GRACE_S)
        await self._kill()

    async def _watch(self) -> None:
        """Keep it alive until cancelled."""
        reason = await self._last()
        while True:
            self._supervision.down(reason, now_ns())
            _log.error("%s", self.why_down())
            await self._kill()
            await asyncio.sleep(max(0.0, (self._supervision.start_at_ns - now_ns()) / 1e9))
            try:
                reason = await self._come_up() or await self._last()
            except Exception as fault:  # noqa: BLE001  # whatever it is, the next start may do better
                reason = f"{type(fault).__name__}: {fault}"

    async def _come_up(self) -> str | None:
        """Start it; None when it is ready and warm, else why it is not."""
        process = await self._spawn()
        self._supervision.started(now_ns())
        gone = asyncio.create_task(process.wait())
        told_s = 0.0
        try:
            while not await self._healthy():
                if (age_s := self._supervision.age_s(now_ns())) - told_s >= TELL_S:
                    told_s = age_s
                    _log.info("vLLM has been starting for %.0f s", age_s)
                if gone.done():
                    return await self._epitaph(process)
                if (reason := self._supervision.checked(False, now_ns())) is not None:
                    return f"{reason}; the last it said: {log.last(self._tail)}"
                await asyncio.wait((gone,), timeout=CHECK_S / 4)
            if gone.done():  # what answers on that port is another server
                return await self._epitaph(process)
            await self._warm()
        except EngineError as fault:
            await asyncio.wait((gone,), timeout=1)  # a death is the better reason, but may take a moment to be seen
            return await self._epitaph(process) if gone.done() else str(fault)
        finally:
            gone.cancel()
        self._supervision.ready(now_ns())
        _log.info("vLLM is ready")
        return None

    async def _last(self) -> str:
        """Return when the ready server is down, with the reason."""
        assert self._process is not None
        gone = asyncio.create_task(self._process.wait())
        try:
            while True:
                await asyncio.wait((gone,), timeout=CHECK_S)
                if gone.done():
                    return await self._epitaph(self._process)
                healthy = await self._healthy()
                if not gone.done() and (reason := self._supervision.checked(healthy, now_ns())) is not None:
                    return reason
        finally:
            gone.cancel()

    async def _spawn(self) -> asyncio.subprocess.Process:
        leash = [sys.executable, "-m", "turngap_agent.leash", str(os.getpid())]
        self._tail.clear()
        # A pipe of our own: asyncio's `wait` would, with its pipes, wait for the workers that still hold them, too.
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=self._environment,
                start_new_session=True,  # its workers outlive it when it is killed: the whole group is ended
            )
        finally:
            os.close(theirs)
        self._reading = asyncio.create_task(self._read(reader))
        _log.info("starting vLLM, pid %d: %s", self._process.pid, " ".join(self._command))
        return self._process

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Keep the last lines, and tell of progress; a progress bar's lines end with CR."""
        rest = ""
        while data := await output.read(65536):
            *lines, rest = _LINE_END.split(rest + data.decode("utf-8", "replace"))
            for line in lines:
                self._tail.append(line)
                self.kv_cache_mib = kv_cache.taken_mib(line) or self.kv_cache_mib
                if (step := log.progress(line)) is not None:
                    _log.info("vLLM: %s", step)
            rest = rest[-65536:]
        self._tail.append(rest)

    async def _epitaph(self, process: asyncio.subprocess.Process) -> str:
        if self._reading is not None:
            await asyncio.wait((self._reading,), timeout=1)  # workers that live on hold the pipe open
        code = await process.wait()
        if code < 0:
            # The kernel's own way out when the machine has no memory left.
            why = ", by hand or because memory ran out" if code == -signal.SIGKILL else ""
            return f"it was killed by {_signal_name(-code)}{why}"
        return f"it ended with code {code}: {log.cause(list(self._tail))}"

    async def _kill(self) -> None:
        """End what is left of it, workers included, and wait until they are gone: they hold the GPU's memory."""
        if self._process is not None:
            for _ in range(_GONE_TRIES):
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    break
                await asyncio.sleep(_GONE_TRY_S)
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._reading = self._pipe = None


def free_port(host: str) -> int:
    """A port nobody listens on now."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
