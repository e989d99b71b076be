"""What NVML says of the GPUs: memory, use, clocks and why they are held back. No GPU is a value with a reason."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pynvml

from harness.result import GpuFigures

_MIB = 1 << 20
_THROTTLE = {
    "applications_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
}
"""Bits of nvmlClocksEventReasons (nvml.h), idle (0x1) left out: an idle GPU is not held back."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one moment, a row of `gpu.csv`; None where the GPU or its driver does not tell."""

    at_s: float
    """On the host's monotonic clock, as every time of a run."""
    gpu: int
    used_mib: float | None
    utilisation_pct: float | None
    """Share of the last sampling period with a kernel running."""
    memory_utilisation_pct: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    power_w: float | None
    throttle: str
    """Reasons joined by `+`, "" for none."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as it stands in the machine."""

    gpu: int
    name: str
    total_mib: float
    used_mib: float


class Gpus:
    """The machine's GPUs through NVML, or none and why."""

    def __init__(self, nvml: ModuleType | None, handles: list[Any], reason: str) -> None:
        self._nvml = nvml
        self._handles = handles
        self.reason = reason
        """Why there are none; "" where there are."""

    @classmethod
    def open(cls, nvml: ModuleType = pynvml) -> Self:
        """Start NVML."""
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as fault:
            return cls(None, [], f"no NVIDIA GPU: {fault}")
        return cls(nvml, handles, "" if handles else "no NVIDIA GPU: the driver counts none")

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        return self._text(self._ask("nvmlSystemGetDriverVersion")) if self._nvml else None

    def devices(self) -> tuple[Gpu, ...]:
        """Each GPU's name and memory now."""
        found = []
        for index, handle in enumerate(self._handles):
            memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
            name = self._text(self._ask("nvmlDeviceGetName", handle)) or "unknown GPU"
            total, used = (memory.total / _MIB, memory.used / _MIB) if memory is not None else (0.0, 0.0)
            found.append(Gpu(index, name, total, used))
        return tuple(found)

    def sample(self, at_s: float) -> tuple[GpuSample, ...]:
        """One row a GPU; what a GPU does not support is None."""
        return tuple(self._sample(at_s, index, handle) for index, handle in enumerate(self._handles))

    def close(self) -> None:
        """Let NVML go."""
        if self._nvml:
            self._ask("nvmlShutdown")

    def _sample(self, at_s: float, index: int, handle: Any) -> GpuSample:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        power_mw = self._ask("nvmlDeviceGetPowerUsage", handle)
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if bits is None:
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)  # its name before driver 535
        return GpuSample(
            at_s=at_s,
            gpu=index,
            used_mib=None if memory is None else memory.used / _MIB,
            utilisation_pct=None if rates is None else float(rates.gpu),
            memory_utilisation_pct=None if rates is None else float(rates.memory),
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", handle, 1),  # NVML_CLOCK_SM
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", handle, 2),  # NVML_CLOCK_MEM
            temperature_c=self._ask("nvmlDeviceGetTemperature", handle, 0),  # NVML_TEMPERATURE_GPU
            power_w=None if power_mw is None else power_mw / 1000,
            throttle="+".join(name for name, bit in _THROTTLE.items() if (bits or 0) & bit),
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What NVML answers; None where it can't: an old driver, a MIG slice, a GPU that fell off the bus."""
        assert self._nvml is not None
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError:
            return None

    @staticmethod
    def _text(value: str | bytes | None) -> str | None:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


COLUMNS = tuple(field.name for field in fields(GpuSample))
"""The columns of `gpu.csv`."""


def row(sample: GpuSample) -> list[str]:
    """A line of `gpu.csv`; an unknown value is an empty cell."""
    return [
        "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        for value in asdict(sample).values()
    ]


def figures(devices: Iterable[Gpu], file: Path) -> tuple[GpuFigures, ...] | None:
    """The peaks in `gpu.csv` for the GPUs seen before the agent started; None where there was none."""
    peaks = peaks_mib(file)
    found = tuple(
        GpuFigures(
            name=device.name,
            total_mib=device.total_mib,
            used_peak_mib=max(device.used_mib, peaks.get(device.gpu, 0.0)),
            used_before_mib=device.used_mib,
        )
        for device in devices
    )
    return found or None


def peaks_mib(file: Path) -> dict[int, float]:
    """The largest memory in use on each GPU in `gpu.csv`; empty where there is no such file."""
    peaks: dict[int, float] = {}
    if file.is_file():
        with file.open(newline="", encoding="utf-8") as lines:
            for line in csv.DictReader(lines):
                gpu, used = line.get("gpu") or "", line.get("used_mib") or ""
                if gpu.isdigit() and re.fullmatch(r"\d+\.\d+", used):
                    peaks[int(gpu)] = max(peaks.get(int(gpu), 0.0), float(used))
    return peaks
