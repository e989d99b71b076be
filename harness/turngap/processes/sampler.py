"""The sampler: GPU and process samples into CSV, in a process of its own so that pacing never waits for NVML or /proc.

`python -m turngap.processes.sampler FOLDER` prints one JSON line with the GPUs as they are, then samples into
FOLDER/gpu.csv
ten times a second, and into FOLDER/process.csv twice a second once its stdin has given a process id, until it gives 0.
After the process id its line may name a GPU by its UUID: that one alone is sampled from then on. It ends with stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import itertools
import json
import os
import select
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from turngap.clock import NS_PER_MS, SystemClock
from turngap.processes import child, gpu_log, process_log
from turngap.processes.gpu import Gpu, Gpus
from turngap.processes.process_log import ProcessSampler, ProcessTree

GPU_PERIOD_NS = 100 * NS_PER_MS
PROCESS_PERIODS = 5
"""GPU periods between two looks at the process tree: /proc is read whole for it."""
_NOBODY = 0
"""In place of a process id: no process is looked at."""


class Sampler:
    """The sampler's process, as the run holds it."""

    def __init__(self, running: asyncio.subprocess.Process, hello: dict[str, Any]) -> None:
        self._process = running
        self.gpus: tuple[Gpu, ...] = tuple(Gpu(**each) for each in hello["gpus"])
        self.no_gpu_reason: str = hello["reason"]
        self.driver: str | None = hello["driver"]
        self.gpu_processes: str = hello["processes"]
        """How far NVML's list of processes reaches: `all`, `container`, or `not available`."""

    @classmethod
    async def start(cls, folder: Path) -> Self:
        """Start sampling GPUs.

        Raises:
            HarnessError: it did not start.
        """
        command = child.python("turngap.processes.sampler", str(folder))
        running = await child.start(command, stderr=None)
        return cls(running, await child.read_hello(running, "the sampler of GPU and memory"))

    async def watch(self, pid: int, gpu: str = "") -> None:
        """Sample that process and all below it too, from now on; of the GPUs, the one of that UUID if there is one."""
        await self._send(pid, gpu)

    async def pause(self) -> None:
        """Look at no process until `watch` is called again: many samplers at once would be a load themselves."""
        await self._send(_NOBODY)

    async def _send(self, pid: int, gpu: str = "") -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(f"{pid} {gpu}\n".encode())
            await self._process.stdin.drain()

    async def stop(self) -> None:
        """End it; its files are whole."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 2.0)
        await child.stop(self._process, grace_s=1.0)


def main(arguments: list[str]) -> None:
    """Sample until stdin ends."""
    folder = Path(arguments[0])
    gpus = Gpus.open()
    devices = gpus.devices()
    hello = {
        "gpus": [asdict(each) for each in devices],
        "reason": gpus.reason,
        "driver": gpus.driver,
        "processes": gpus.processes,
    }
    print(json.dumps(hello), flush=True)
    with (folder / "process.csv").open("a", newline="", encoding="utf-8", buffering=1) as process_file:
        process_rows = _rows(process_file, process_log.COLUMNS)
        if not devices:
            _loop(gpus, None, process_rows)
            return
        with (folder / "gpu.csv").open("a", newline="", encoding="utf-8", buffering=1) as gpu_file:
            _loop(gpus, _rows(gpu_file, gpu_log.COLUMNS), process_rows)
    gpus.close()


def _rows(file: IO[str], columns: tuple[str, ...]) -> Any:
    rows = csv.writer(file)
    if not file.tell():  # a resumed run goes on with the files it has
        rows.writerow(columns)
    return rows


def _loop(gpus: Gpus, gpu_rows: Any, process_rows: Any) -> None:
    clock = SystemClock()
    instrument = ProcessTree.of(os.getppid())
    agent: ProcessSampler | None = None
    watched, resting = _NOBODY, False
    deadline_ns = clock.now_ns()
    for tick in itertools.count():
        if gpu_rows is not None:
            gpu_rows.writerows(gpu_log.format_row(each) for each in gpus.sample(clock.now_ns() / 1e9))
        if agent is not None and not resting and tick % PROCESS_PERIODS == 0:
            seen = agent.sample(clock.now_ns() / 1e9)
            if seen is not None:
                process_rows.writerow(process_log.format_row(seen))
        deadline_ns = max(deadline_ns + GPU_PERIOD_NS, clock.now_ns())
        while (left_ns := deadline_ns - clock.now_ns()) > 0:
            if not select.select([0], [], [], left_ns / 1e9)[0]:
                continue
            said_now = os.read(0, 4096)
            if not said_now:
                return
            first, *named = said_now.decode().splitlines()[-1].split()
            said = int(first)
            for uuid in named:
                gpus.sample_only(uuid)
            resting = said == _NOBODY
            if not resting and said != watched:
                tree, watched = ProcessTree.of(said), said
                agent = ProcessSampler(tree, instrument) if tree is not None else None


if __name__ == "__main__":
    main(sys.argv[1:])
