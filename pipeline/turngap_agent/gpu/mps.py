"""CUDA's Multi-Process Service, so that work of several processes runs on the GPU at the same time.

The control daemon is started here with folders of its own, in the foreground as a child of the agent, and ends with it:
no daemon of the machine is touched, and ours does not stay. NVIDIA documents MPS: docs.nvidia.com/deploy/mps.
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
from turngap_agent.gpu.choice import ChosenGpu
from turngap_agent.profile.sections import GpuSettings

CONTROL = "nvidia-cuda-mps-control"
READY_WITHIN_S = 20.0
ANSWER_WITHIN_S = 20.0
GRACE_S = 10.0
_QUIT = "quit -t 2"
"""Clients have 2 s to end by themselves: the agent's own CUDA context lives as long as the agent."""
_PRIORITY = {"normal": "0", "below_normal": "1"}


class Mps:
    """A running control daemon: `start`, give clients `environment`, then `stop`."""

    def __init__(self, program: str, folder: Path, settings: GpuSettings, environment: dict[str, str]) -> None:
        self._program, self._folder, self._settings, self._environment = program, folder, settings, environment
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(cls, choice: ChosenGpu, settings: GpuSettings, environment: Mapping[str, str] = os.environ) -> Self:
        """Start the daemon on that GPU and wait until it answers.

        Raises:
            EngineError: it is not installed, refuses, or does not answer in time; it leaves nothing behind.
        """
        program = shutil.which(CONTROL, path=environment.get("PATH"))
        if program is None:
            raise EngineError(
                f"gpu.mps: {CONTROL} is not installed; it is part of the NVIDIA driver (a container needs the driver "
                "capability `compute`); install it, or set gpu.mps: false"
            )
        folder = Path(tempfile.mkdtemp(prefix="turngap-mps-"))
        for name in ("pipe", "log"):
            (folder / name).mkdir()
        places = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "log")}
        # The server renumbers the GPUs that it sees, so it gets the UUID, and clients use device 0.
        own = {**environment, **places, "CUDA_VISIBLE_DEVICES": choice.uuid}
        daemon = cls(program, folder, settings, own)
        try:
            await daemon._start()
        except BaseException:
            await daemon.stop()
            raise
        return daemon

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the agent's own process; set them before CUDA starts in it."""
        return self._client(self._settings.agent_active_thread_pct, "normal")

    @property
    def llm_environment(self) -> dict[str, str]:
        """The variables for vLLM's process, on top of the agent's."""
        return self._client(self._settings.llm_active_thread_pct, self._settings.llm_mps_priority)

    async def check_used(self) -> None:
        """Check, once engines are loaded, that they work through it.

        Raises:
            EngineError: the daemon has started no server, so CUDA works without it.
        """
        code, servers = await self._send_command("get_server_list")
        if code or not servers.split():
            raise EngineError(
                f"gpu.mps: the engines did not reach the MPS daemon ({self._last_log_line()}); a container needs "
                "--ipc=host or a shared /dev/shm; or set gpu.mps: false"
            )

    async def stop(self) -> None:
        """End daemon and servers, whatever their state, and remove the folders."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(EngineError):
                await self._send_command(_QUIT)
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
        with (self._folder / "log" / "output").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                self._program,
                "-f",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,  # Ctrl-C goes to the agent: the daemon ends after the engines
            )
        deadline_ns = clock.now_ns() + round(READY_WITHIN_S * 1e9)
        while (await self._send_command("get_server_list"))[0]:
            if self._process.returncode is not None:
                raise EngineError(
                    f"gpu.mps: the MPS daemon refused to start ({self._last_log_line()}); end another one of this user "
                    f"(echo quit | {CONTROL}), or set gpu.mps: false"
                )
            if clock.now_ns() > deadline_ns:
                raise EngineError(
                    f"gpu.mps: the MPS daemon did not answer within {READY_WITHIN_S:g} s ({self._last_log_line()}); "
                    "set gpu.mps: false"
                )
            await asyncio.sleep(0.05)

    async def _send_command(self, command: str) -> tuple[int, str]:
        """Return the exit code and answer of the daemon's front end."""
        front_end = await asyncio.create_subprocess_exec(
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        try:
            output, _ = await asyncio.wait_for(front_end.communicate(f"{command}\n".encode()), ANSWER_WITHIN_S)
        except TimeoutError:
            front_end.kill()
            await front_end.wait()
            return 1, ""
        return front_end.returncode or 0, output.decode("utf-8", "replace")

    def _client(self, share_pct: int | None, priority: str) -> dict[str, str]:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        return {name: self._environment[name] for name in names} | {
            "CUDA_VISIBLE_DEVICES": "0",
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(share_pct or 100),
            "CUDA_MPS_CLIENT_PRIORITY": _PRIORITY[priority],
        }

    def _last_log_line(self) -> str:
        for name in ("output", "control.log", "server.log"):
            with contextlib.suppress(OSError):
                text = (self._folder / "log" / name).read_text("utf-8", "replace")
                if lines := [line.strip() for line in text.splitlines() if line.strip()]:
                    return lines[-1][:300]
        return "it logged nothing"


def keep_off_machine_mps(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return variables that keep the engines off an MPS daemon of the machine, if it runs one: they would join it.

    They name an empty folder that is created here; the caller removes it.
    """
    pipe = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))  # NVIDIA's default
    if not (pipe / "control").exists():
        return {}
    return {"CUDA_MPS_PIPE_DIRECTORY": tempfile.mkdtemp(prefix="turngap-no-mps-")}
