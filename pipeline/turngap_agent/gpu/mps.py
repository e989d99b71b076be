"""CUDA's Multi-Process Service, so that work of several processes runs on the GPU at the same time.

The control daemon is started here with folders of its own, in the foreground as a child of the agent, and ends with it:
no daemon of the machine is touched, and none of ours stays. What it does is NVIDIA's: docs.nvidia.com/deploy/mps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from turngap_agent import clock
from turngap_agent.errors import EngineError
from turngap_agent.gpu.choice import Choice
from turngap_agent.profile.sections import GpuSettings

CONTROL = "nvidia-cuda-mps-control"
READY_WITHIN_S = 20.0
ANSWER_WITHIN_S = 20.0
GRACE_S = 10.0
_QUIT = "quit -t 2"
"""Clients have that long to end by themselves: the agent's own CUDA context lives until the agent does."""
_PRIORITY = {"normal": "0", "below_normal": "1"}


class Mps:
    """A running control daemon; `start`, then clients get `environment`, then `stop`."""

    def __init__(self, program: str, folder: Path, settings: GpuSettings, environment: dict[str, str]) -> None:
        self._program, self._folder, self._settings, self._environment = program, folder, settings, environment
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(cls, choice: Choice, settings: GpuSettings, environment: Mapping[str, str] = os.environ) -> Self:
        """Start the daemon on that GPU and wait until it answers.

        Raises:
            EngineError: it is not installed, refuses, or does not answer in time; nothing of it is left.
        """
        program = shutil.which(CONTROL, path=environment.get("PATH"))
        if program is None:
            raise EngineError(
                f"gpu.mps: {CONTROL} is not installed; it comes with the NVIDIA driver (a container needs the driver "
                "capability `compute`); install it, or set gpu.mps: false"
            )
        folder = Path(tempfile.mkdtemp(prefix="turngap-mps-"))
        for name in ("pipe", "log"):
            (folder / name).mkdir()
        places = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "log")}
        # The server shows what it sees under new numbers, so it is told by UUID, and clients ask for device 0.
        own = {**environment, **places, "CUDA_VISIBLE_DEVICES": choice.uuid}
        found = cls(program, folder, settings, own)
        try:
            await found._start()
        except BaseException:
            await found.stop()
            raise
        return found

    @property
    def environment(self) -> dict[str, str]:
        """For the agent's own process, before CUDA starts in it."""
        return self._client(self._settings.agent_active_thread_pct, "normal")

    @property
    def llm_environment(self) -> dict[str, str]:
        """For vLLM's, on top of the agent's."""
        return self._client(self._settings.llm_active_thread_pct, self._settings.llm_mps_priority)

    async def check_used(self) -> None:
        """Make sure, once engines are loaded, that one of them works through it.

        Raises:
            EngineError: the daemon had no reason to start a server: CUDA went on without it.
        """
        code, said = await self._tell("get_server_list")
        if code or not said.split():
            raise EngineError(
                f"gpu.mps: the engines did not reach the MPS daemon ({self._last_words()}); a container needs "
                "--ipc=host or a shared /dev/shm; or set gpu.mps: false"
            )

    async def stop(self) -> None:
        """End daemon and servers, in any state, and remove the folders."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(EngineError):
                await self._tell(_QUIT)
            for end in (None, process.terminate, process.kill):
                with contextlib.suppress(ProcessLookupError):
                    if end is not None:
                        end()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), GRACE_S)
                    break
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self) -> None:
        leash = [sys.executable, "-m", "turngap_agent.leash", str(os.getpid())]
        with (self._folder / "log" / "said").open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                self._program,
                "-f",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is the agent's: the daemon ends after the engines
            )
        deadline_ns = clock.now_ns() + round(READY_WITHIN_S * 1e9)
        while (await self._tell("get_server_list"))[0]:
            if self._process.returncode is not None:
                raise EngineError(
                    f"gpu.mps: the MPS daemon refused to start ({self._last_words()}); end another one of this user "
                    f"(echo quit | {CONTROL}), or set gpu.mps: false"
                )
            if clock.now_ns() > deadline_ns:
                raise EngineError(
                    f"gpu.mps: the MPS daemon did not answer within {READY_WITHIN_S:g} s ({self._last_words()}); "
                    "set gpu.mps: false"
                )
            await asyncio.sleep(0.05)

    async def _tell(self, command: str) -> tuple[int, str]:
        """Exit code and answer of the daemon's front end."""
        asking = await asyncio.create_subprocess_exec(
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        try:
            said, _ = await asyncio.wait_for(asking.communicate(f"{command}\n".encode()), ANSWER_WITHIN_S)
        except TimeoutError:
            asking.kill()
            await asking.wait()
            return 1, ""
        return asking.returncode or 0, said.decode("utf-8", "replace")

    def _client(self, share_pct: int | None, priority: str) -> dict[str, str]:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        return {name: self._environment[name] for name in names} | {
            "CUDA_VISIBLE_DEVICES": "0",
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(share_pct or 100),
            "CUDA_MPS_CLIENT_PRIORITY": _PRIORITY[priority],
        }

    def _last_words(self) -> str:
        for name in ("said", "control.log", "server.log"):
            with contextlib.suppress(OSError):
                text = (self._folder / "log" / name).read_text("utf-8", "replace")
                if lines := [line.strip() for line in text.splitlines() if line.strip()]:
                    return lines[-1][:300]
        return "it said nothing"


def off(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What keeps the engines off an MPS daemon of the machine, where there is one: unasked they would join it.

    An empty folder, made here; the caller removes it.
    """
    pipe = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))  # NVIDIA's default
    if not (pipe / "control").exists():
        return {}
    return {"CUDA_MPS_PIPE_DIRECTORY": tempfile.mkdtemp(prefix="turngap-no-mps-")}
