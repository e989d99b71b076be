"""The process of `vllm serve`: started, watched, killed with all its children, and restarted when it dies."""

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
from turngap_agent.gpu import faults
from turngap_agent.llm.vllm import kv_cache, log
from turngap_agent.llm.vllm.output import OutputFile
from turngap_agent.llm.vllm.settings import Restart
from turngap_agent.llm.vllm.supervision import State, Supervision

CHECK_S = 2.0
"""Between health checks of a ready server; a starting one is checked four times as often."""
LOG_S = 30.0
"""Between log lines on a server that is still starting."""
GRACE_S = 10.0
"""How long it may take to end after SIGTERM before it is killed."""
_TAIL_LINES = 4000
"""Searched for the cause of a death; the stacks of all threads of a killed worker come after it."""
_KILL_TRY_S, _KILL_TRIES = 0.05, 100
"""In a container without an init process orphans stay as zombies: the wait for them has an end."""
_LINE_END = re.compile(r"[\r\n]+")
_log = logging.getLogger("turngap.vllm")


class VllmServer:
    """One supervised server. It runs from `start` until `close`; `state` and `down_reason` say whether it can serve."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        check_health: Callable[[], Awaitable[bool]],
        warm_up: Callable[[], Awaitable[None]],
        start_limit_s: float,
        restart: Restart,
    ) -> None:
        """`warm_up` prepares the server after each start, and raises `EngineError` if it cannot."""
        self._command, self._environment = command, dict(environment)
        self._check_health, self._warm_up = check_health, warm_up
        self._supervision = Supervision(restart, start_limit_s, now_ns())
        self._process: asyncio.subprocess.Process | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._output = OutputFile(environment)
        self._failed = False
        self.kv_cache_mib: float | None = None
        """Size of the KV cache according to its log."""
        self._pipe: asyncio.ReadTransport | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """The state of the server."""
        return self._supervision.state

    @property
    def pid(self) -> int | None:
        """Id of its process, if there is one; also that of its process group."""
        return self._process.pid if self._process else None

    def down_reason(self) -> str:
        """Return one line on why it cannot serve now."""
        return self._supervision.describe(now_ns())

    async def start(self) -> None:
        """Start the server, wait until it is ready and warm, and watch it from then on.

        Raises:
            EngineError: it died, or was not ready in time; the first start is not repeated.
        """
        if (reason := await self._start_once()) is not None:
            await self._kill()
            self._failed = True
            raise EngineError(f"llm: vLLM did not start: {reason}{self._output.describe()}")
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End the server, in any state."""
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
        self._output.close(keep=self._failed)

    async def _watch(self) -> None:
        """Restart the server whenever it is down, until cancelled."""
        reason = await self._wait_until_down()
        while True:
            self._failed = True
            self._supervision.record_down(reason, now_ns())
            _log.error("%s%s", self.down_reason(), self._output.describe())
            if faults.WATCH.report("vLLM", "\n".join(self._tail)):
                return  # MPS refuses new clients until the agent has left too
            await self._kill()
            await asyncio.sleep(max(0.0, (self._supervision.start_at_ns - now_ns()) / 1e9))
            try:
                reason = await self._start_once() or await self._wait_until_down()
            except Exception as error:  # noqa: BLE001  # whatever it is, the next start may succeed
                reason = f"{type(error).__name__}: {error}"

    async def _start_once(self) -> str | None:
        """Start the server; return None when it is ready and warm, else why it is not."""
        process = await self._spawn()
        self._supervision.record_start(now_ns())
        ended = asyncio.create_task(process.wait())
        logged_s = 0.0
        try:
            while not await self._check_health():
                if (age_s := self._supervision.age_s(now_ns())) - logged_s >= LOG_S:
                    logged_s = age_s
                    _log.info("vLLM has been starting for %.0f s", age_s)
                if ended.done():
                    return await self._exit_reason(process)
                if (reason := self._supervision.record_check(False, now_ns())) is not None:
                    return f"{reason}; its last line: {log.last_line(self._tail)}"
                await asyncio.wait((ended,), timeout=CHECK_S / 4)
            if ended.done():  # another server answers on that port
                return await self._exit_reason(process)
            await self._warm_up()
        except EngineError as error:
            await asyncio.wait((ended,), timeout=1)  # that it died is the better reason, but may show a moment later
            return await self._exit_reason(process) if ended.done() else str(error)
        finally:
            ended.cancel()
        self._supervision.record_ready(now_ns())
        _log.info("vLLM is ready")
        return None

    async def _wait_until_down(self) -> str:
        """Wait until the ready server is down; return the reason."""
        assert self._process is not None
        ended = asyncio.create_task(self._process.wait())
        try:
            while True:
                await asyncio.wait((ended,), timeout=CHECK_S)
                if ended.done():
                    return await self._exit_reason(self._process)
                healthy = await self._check_health()
                if not ended.done() and (reason := self._supervision.record_check(healthy, now_ns())) is not None:
                    return reason
        finally:
            ended.cancel()

    async def _spawn(self) -> asyncio.subprocess.Process:
        leash = [sys.executable, "-m", "turngap_agent.leash", str(os.getpid())]
        self._tail.clear()
        # Not asyncio's pipes: its `wait` would also wait for workers that still hold them.
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=self._environment,
                start_new_session=True,  # its workers outlive it when it is killed, so the whole group is killed
            )
        finally:
            os.close(write_end)
        self._reading = asyncio.create_task(self._read(reader))
        _log.info("starting vLLM, pid %d: %s", self._process.pid, " ".join(self._command))
        return self._process

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Keep the last lines and log the steps of the start; the lines of a progress bar end with CR."""
        rest = ""
        while data := await output.read(65536):
            self._output.write(data)
            *lines, rest = _LINE_END.split(rest + data.decode("utf-8", "replace"))
            for line in lines:
                self._tail.append(line)
                self.kv_cache_mib = kv_cache.parse_log_size_mib(line) or self.kv_cache_mib
                if (step := log.find_step(line)) is not None:
                    _log.info("vLLM: %s", step)
            rest = rest[-65536:]
        self._tail.append(rest)

    async def _exit_reason(self, process: asyncio.subprocess.Process) -> str:
        if self._reading is not None:
            await asyncio.wait((self._reading,), timeout=1)  # workers that still run hold the pipe open
        code = await process.wait()
        if code < 0:
            # The kernel kills it when the machine has no memory left.
            source = ", by hand or because memory ran out" if code == -signal.SIGKILL else ""
            return f"it was killed by {log.signal_name(-code)}{source}"
        return f"it ended with code {code}: {log.find_cause(list(self._tail))}"

    async def _kill(self) -> None:
        """Kill what is left of it, workers included, and wait until they have ended: they hold the GPU's memory."""
        if self._process is not None:
            for _ in range(_KILL_TRIES):
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    break
                await asyncio.sleep(_KILL_TRY_S)
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._reading = self._pipe = None


def find_free_port(host: str) -> int:
    """Return a port that no program listens on."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])
