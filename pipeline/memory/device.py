"""The GPU's memory as NVML counts it for the whole device: torch does not see other libraries, and containers hide
processes from each other.

Engines load one after another, so the difference around a load is what that engine holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import pynvml

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Memory:
    """A device at one moment."""

    card: str
    total_mib: float
    used_mib: float

    @property
    def free_mib(self) -> float:
        """What a program can still have."""
        return self.total_mib - self.used_mib


class Device:
    """The GPU that CUDA would choose, through NVML; or none, and why."""

    def __init__(self, nvml: ModuleType | None, handle: Any, reason: str = "") -> None:
        self._nvml, self._handle = nvml, handle
        self.reason = reason
        """Why there is none; "" where there is one."""

    @classmethod
    def open(cls, nvml: ModuleType = pynvml, visible: str | None = None) -> Self:
        """The first of CUDA_VISIBLE_DEVICES (an index, a GPU's or a MIG slice's UUID), else the first there is."""
        asked = os.environ.get("CUDA_VISIBLE_DEVICES", "0") if visible is None else visible
        first = asked.split(",")[0].strip()
        try:
            nvml.nvmlInit()
            if first.isdigit():
                return cls(nvml, nvml.nvmlDeviceGetHandleByIndex(int(first)))
            if first.startswith(("GPU-", "MIG-")):
                return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(first))
        except nvml.NVMLError as fault:
            return cls(None, None, f"no NVIDIA GPU: {fault}")
        return cls(None, None, f"CUDA_VISIBLE_DEVICES={asked!r} shows no GPU")

    def memory(self) -> Memory | None:
        """Now; None where there is no GPU, or its memory may not be read."""
        if self._nvml is None:
            return None
        try:
            now = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
            name = self._nvml.nvmlDeviceGetName(self._handle)
        except self._nvml.NVMLError:
            return None
        card = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        return Memory(card, now.total / _MIB, now.used / _MIB)
