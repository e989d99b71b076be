"""What NVML says of the GPUs: memory, use, clocks and why they are held back. No GPU is a value with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import pynvml
from turngap_agent import tracing

from turngap.processes.gpu_processes import GpuProcesses

_MIB = 1 << 20
_REASONS = {
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
THROTTLING = frozenset({"hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
"""Those that make a card slower than it is: heat, and the power that the server can give. The others are settings, or
the card's own power limit, which holds in production too."""


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
    foreign_processes: int | None
    """Compute processes on it that this run did not start; None where NVML does not tell, as in many containers."""
    foreign: str
    """Those, as "PID NAME", joined by `+`."""
    boot_id: str = ""
    """The boot that `at_s` counts from."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG slice of one, as it stands in the machine."""

    gpu: int
    name: str
    total_mib: float
    used_mib: float
    uuid: str = ""
    reserved_mib: float | None = None
    """What of `used_mib` the driver keeps for itself; None where it does not tell."""


@dataclass(frozen=True, slots=True)
class _Device:
    """A GPU's handles: of a slice, memory and processes are its own, clocks and heat the whole card's."""

    number: int
    handle: Any
    card: Any


class Gpus:
    """The machine's GPUs through NVML, or none and why."""

    def __init__(
        self, nvml: ModuleType | None, handles: list[Any], reason: str, processes_on_gpu: GpuProcesses
    ) -> None:
        self._nvml = nvml
        self._processes_on_gpu = processes_on_gpu
        self._boot_id = tracing.read_boot_id()
        self.reason = reason
        """Why there are none; "" where there are."""
        pairs = [(slice_, card) for card in handles for slice_ in self._slices(card) or [card]]
        self._handles = [_Device(number, handle, card) for number, (handle, card) in enumerate(pairs)]
        for device in self._handles:
            processes_on_gpu.note_earlier(self._pids(device))

    @classmethod
    def open(cls, nvml: ModuleType = pynvml, processes_on_gpu: GpuProcesses | None = None) -> Self:
        """Start NVML. Whoever is on a GPU now is foreign to the run, unless `residents` knows better."""
        processes_on_gpu = GpuProcesses.of_this_process() if processes_on_gpu is None else processes_on_gpu
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as fault:
            return cls(None, [], f"no NVIDIA GPU: {fault}", processes_on_gpu)
        return cls(nvml, handles, "" if handles else "no NVIDIA GPU: the driver counts none", processes_on_gpu)

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        return _text(self._query("nvmlSystemGetDriverVersion")) if self._nvml else None

    @property
    def processes(self) -> str:
        """How far NVML's list of processes reaches: `all`, `container`, or `not available`."""
        if not self._handles or any(self._pids(device) is None for device in self._handles):
            return "not available"
        return "all" if self._processes_on_gpu.initial_namespace else "container"

    def devices(self) -> tuple[Gpu, ...]:
        """Each GPU's name and memory now; a card that is cut into MIG slices is its slices."""
        return tuple(self._device(device) for device in self._handles)

    def sample_only(self, uuid: str) -> None:
        """Sample that GPU alone from now on, if it is one of these."""
        chosen = [device for device in self._handles if self._uuid(device) == uuid]
        self._handles = chosen or self._handles

    def sample(self, at_s: float) -> tuple[GpuSample, ...]:
        """One row a GPU; what a GPU does not support is None."""
        return tuple(self._sample(at_s, device) for device in self._handles)

    def close(self) -> None:
        """Let NVML go."""
        if self._nvml:
            self._query("nvmlShutdown")

    def _device(self, device: _Device) -> Gpu:
        memory = self._query("nvmlDeviceGetMemoryInfo", device.handle)
        parted = self._query("nvmlDeviceGetMemoryInfo", device.handle, getattr(self._nvml, "nvmlMemory_v2", None))
        total, used = (memory.total / _MIB, memory.used / _MIB) if memory is not None else (0.0, 0.0)
        reserved = getattr(parted, "reserved", None)
        return Gpu(
            gpu=device.number,
            name=_text(self._query("nvmlDeviceGetName", device.handle)) or "unknown GPU",
            total_mib=total,
            used_mib=used,
            uuid=self._uuid(device),
            reserved_mib=None if reserved is None else reserved / _MIB,
        )

    def _sample(self, at_s: float, device: _Device) -> GpuSample:
        memory = self._query("nvmlDeviceGetMemoryInfo", device.handle)
        rates = self._query("nvmlDeviceGetUtilizationRates", device.handle)
        power_mw = self._query("nvmlDeviceGetPowerUsage", device.card)
        bits = self._query("nvmlDeviceGetCurrentClocksEventReasons", device.card)
        if bits is None:
            bits = self._query("nvmlDeviceGetCurrentClocksThrottleReasons", device.card)  # its name before driver 535
        foreign = self._processes_on_gpu.list_foreign(self._pids(device))
        return GpuSample(
            at_s=at_s,
            gpu=device.number,
            used_mib=None if memory is None else memory.used / _MIB,
            utilisation_pct=None if rates is None else float(rates.gpu),
            memory_utilisation_pct=None if rates is None else float(rates.memory),
            sm_clock_mhz=self._query("nvmlDeviceGetClockInfo", device.card, 1),  # NVML_CLOCK_SM
            memory_clock_mhz=self._query("nvmlDeviceGetClockInfo", device.card, 2),  # NVML_CLOCK_MEM
            temperature_c=self._query("nvmlDeviceGetTemperature", device.card, 0),  # NVML_TEMPERATURE_GPU
            power_w=None if power_mw is None else power_mw / 1000,
            throttle="+".join(name for name, bit in _REASONS.items() if (bits or 0) & bit),
            foreign_processes=None if foreign is None else len(foreign),
            foreign="+".join(foreign or ()),
            boot_id=self._boot_id,
        )

    def _slices(self, card: Any) -> list[Any]:
        """The MIG slices of a card, none where it is whole."""
        mode = self._query("nvmlDeviceGetMigMode", card)
        if not mode or mode[0] != 1:  # NVML_DEVICE_MIG_ENABLE
            return []
        places = range(self._query("nvmlDeviceGetMaxMigDeviceCount", card) or 0)
        found = (self._query("nvmlDeviceGetMigDeviceHandleByIndex", card, place) for place in places)
        return [handle for handle in found if handle is not None]

    def _pids(self, device: _Device) -> list[int] | None:
        """Who computes on it; None where that is not told. MPS's clients have a list of their own."""
        found = self._query("nvmlDeviceGetComputeRunningProcesses", device.handle)
        if found is None:
            return None
        clients = self._query("nvmlDeviceGetMPSComputeRunningProcesses", device.handle) or []
        return sorted({int(process.pid) for process in (*found, *clients)})

    def _uuid(self, device: _Device) -> str:
        return _text(self._query("nvmlDeviceGetUUID", device.handle)) or ""

    def _query(self, function: str, *arguments: Any) -> Any:
        """What NVML answers; None where it can't: an old driver, a MIG slice, a GPU that fell off the bus."""
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        if call is None or self._nvml is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError:
            return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
