"""Samples GPUs and processes into CSV, in a process of its own, so that pacing never waits for NVML or /proc.

`python -m turngap.processes.sampler FOLDER` prints one JSON line that describes the GPUs. Then it writes
FOLDER/gpu.csv ten times a second and, from the first process id on its stdin until a 0, FOLDER/process.csv twice and
FOLDER/health.csv ten times a second. A line `PID UUID` also selects the only GPU to be sampled from then on. It ends
with its stdin.
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
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

from turngap_agent.tracing import read_boot_id

from turngap.clock import NS_PER_MS, SystemClock
from turngap.processes import child, gpu_log, health_log, process_log
from turngap.processes.gpu import Gpu, Gpus
from turngap.processes.proc_counters import CounterReader
from turngap.processes.process_log import ProcessSampler, ProcessTree

GPU_PERIOD_NS = 100 * NS_PER_MS
PROCESS_PERIODS = 5
"""GPU periods between two samples of the process tree, which read all of /proc."""
_NO_PROCESS = 0
"""Instead of a process id: no process is sampled."""


class Sampler:
    """The sampler's process, as seen from the session."""

    def __init__(self, running: asyncio.subprocess.Process, hello: dict[str, Any]) -> None:
        self._process = running
        self.gpus: tuple[Gpu, ...] = tuple(Gpu(**gpu) for gpu in hello["gpus"])
        self.no_gpu_reason: str = hello["reason"]
        self.driver: str | None = hello["driver"]
        self.gpu_processes: str = hello["processes"]
        """Which processes NVML lists: `all`, those of the `container`, or `not available`."""

    @classmethod
    async def start(cls, folder: Path) -> Self:
        """Start sampling GPUs.

        Raises:
            HarnessError: it did not start.
        """
        command = child.python_command("turngap.processes.sampler", str(folder))
        running = await child.start_child(command, stderr=None)
        return cls(running, await child.read_hello(running, "the sampler of GPU and memory"))

    async def watch(self, pid: int, gpu: str = "") -> None:
        """From now on also sample that process and its descendants; of the GPUs, only the one with that UUID."""
        await self._send(pid, gpu)

    async def pause(self) -> None:
        """Sample no process until `watch` is called again: many samplers at once would be a load themselves."""
        await self._send(_NO_PROCESS)

    async def _send(self, pid: int, gpu: str = "") -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(f"{pid} {gpu}\n".encode())
            await self._process.stdin.drain()

    async def stop(self) -> None:
        """Stop it; its files are complete then."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 2.0)
        await child.stop_child(self._process, grace_s=1.0)


def main(arguments: list[str]) -> None:
    """Sample until stdin ends."""
    folder = Path(arguments[0])
    gpus = Gpus.open()
    devices = gpus.devices()
    hello = {
        "gpus": [asdict(gpu) for gpu in devices],
        "reason": gpus.reason,
        "driver": gpus.driver,
        "processes": gpus.processes,
    }
    print(json.dumps(hello), flush=True)
    with ExitStack() as files:

        def open_rows(name: str, columns: tuple[str, ...]) -> Any:
            file = files.enter_context((folder / name).open("a", newline="", encoding="utf-8", buffering=1))
            return _rows(file, columns)

        rows = _Rows(
            process=open_rows("process.csv", process_log.COLUMNS),
            health=open_rows("health.csv", health_log.COLUMNS),
            gpu=open_rows("gpu.csv", gpu_log.COLUMNS) if devices else None,
        )
        _sample_until_eof(gpus, rows)
    gpus.close()


@dataclass(frozen=True, slots=True)
class _Rows:
    """The writers of the files' rows."""

    process: Any
    health: Any
    gpu: Any | None


def _rows(file: IO[str], columns: tuple[str, ...]) -> Any:
    rows = csv.writer(file)
    if not file.tell():  # a resumed run appends to its files
        rows.writerow(columns)
    return rows


def _sample_until_eof(gpus: Gpus, rows: _Rows) -> None:
    clock, boot_id = SystemClock(), read_boot_id()
    instrument = ProcessTree.of(os.getppid())
    agent: ProcessSampler | None = None
    tree: ProcessTree | None = None
    counters: CounterReader | None = None
    watched, resting = _NO_PROCESS, False
    deadline_ns = clock.now_ns()
    for tick in itertools.count():
        if rows.gpu is not None:
            rows.gpu.writerows(gpu_log.format_gpu_row(sample) for sample in gpus.sample(clock.now_ns() / 1e9))
        if agent is not None and not resting and tick % PROCESS_PERIODS == 0:
            sample = agent.sample(clock.now_ns() / 1e9)
            if sample is not None:
                rows.process.writerow(process_log.format_process_row(sample))
        if counters is not None and tree is not None and not resting:
            at_s = clock.now_ns() / 1e9
            counted = counters.read(tree.descendants)
            if counted is not None:
                rows.health.writerow(health_log.format_health_row(at_s, counted, boot_id))
        deadline_ns = max(deadline_ns + GPU_PERIOD_NS, clock.now_ns())
        while (left_ns := deadline_ns - clock.now_ns()) > 0:
            if not select.select([0], [], [], left_ns / 1e9)[0]:
                continue
            received = os.read(0, 4096)
            if not received:
                return
            first, *uuids = received.decode().splitlines()[-1].split()
            pid = int(first)
            for uuid in uuids:
                gpus.sample_only(uuid)
            resting = pid == _NO_PROCESS
            if not resting and pid != watched:
                tree, watched = ProcessTree.of(pid), pid
                agent = ProcessSampler(tree, instrument) if tree is not None else None
                counters = CounterReader(pid)


if __name__ == "__main__":
    main(sys.argv[1:])
