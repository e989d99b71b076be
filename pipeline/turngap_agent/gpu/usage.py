"""How much of the chosen GPU is in use, as NVML counts it for the whole device, and whether others use it.

torch does not see other libraries, and containers hide processes from each other; the device's own count has all of
them. Engines load one after another, so the difference around a load is what that engine holds.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from typing import Any

from turngap_agent.gpu.choice import ChosenGpu

IDLE_MIB = 256.0
"""In use beside what the driver keeps: less than any CUDA context takes."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """A device's memory at one moment."""

    card: str
    total_mib: float
    used_mib: float

    @property
    def free_mib(self) -> float:
        """What a program can still allocate."""
        return self.total_mib - self.used_mib


def read_memory(choice: ChosenGpu) -> Memory | None:
    """Return the device's memory now; None if it may not be read.

    What torch's allocator in this process keeps but nobody uses is given back first: it is not what an engine holds,
    and the copies of a large model that were fused while it loaded are tens of gigabytes.
    """
    release_cached_memory(sys.modules.get("torch"))
    nvml = choice.nvml
    try:
        now = nvml.nvmlDeviceGetMemoryInfo(choice.handle)
    except nvml.NVMLError:
        return None
    return Memory(choice.name, now.total / _MIB, now.used / _MIB)


def release_cached_memory(torch: Any) -> None:
    """Give what torch's allocator keeps and nobody uses back to the device; `torch` is None if nothing imported it."""
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()  # networks refer to themselves in circles
        torch.cuda.empty_cache()


def describe_other_use(choice: ChosenGpu) -> str | None:
    """Return one line, with the remedy, if other processes use the GPU; None if none does, as far as NVML can see."""
    nvml = choice.nvml
    try:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(choice.handle)
    except nvml.NVMLError:
        running = []  # in many containers; the memory shows it
    pids = ", ".join(str(process.pid) for process in running)
    used_mib = _used_by_programs_mib(choice)
    if not pids and (used_mib is None or used_mib <= IDLE_MIB):
        return None
    what = [f"process {pids}" if pids else "", f"{used_mib:,.0f} MiB" if used_mib is not None else ""]
    return (
        f"{choice.label} is in use by others ({', '.join(filter(None, what))}): times and memory will be theirs too; "
        "stop them (`nvidia-smi` lists them), or choose another GPU with gpu.device"
    )


def _used_by_programs_mib(choice: ChosenGpu) -> float | None:
    nvml = choice.nvml
    try:
        now = nvml.nvmlDeviceGetMemoryInfo(choice.handle, nvml.nvmlMemory_v2)
    except (nvml.NVMLError, AttributeError):
        return None  # an old driver includes its own part
    return float(now.used - getattr(now, "reserved", 0)) / _MIB
