"""Reads the GPUs through NVML: memory, use, clocks and their throttling. Without a GPU it states the reason."""

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
"""Bits of nvmlClocksEventReasons (nvml.h), without idle (0x1): an idle GPU is not throttled."""
THROTTLING = frozenset({"hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
"""Reasons that make a card slower than in production: heat and the server's power supply. The others are settings, or
the card's own power limit."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one moment, a row of `gpu.csv`; None where the GPU or its driver does not report a value."""

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
    """Compute processes on it that this run did not start; None where NVML does not report them, as in many
    containers."""
    foreign: str
    """These processes as "PID NAME", joined by `+`."""
    boot_id: str = ""
    """The boot whose monotonic clock `at_s` is read from."""
    energy_j: float | None = None
    """Used since the driver was loaded, by the card's counter; None for a MIG slice, and before Volta."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of the machine, or one of its MIG slices."""

    gpu: int
    name: str
    total_mib: float
    used_mib: float
    uuid: str = ""
    reserved_mib: float | None = None
    """The driver's own share of `used_mib`; None where it is not reported."""


@dataclass(frozen=True, slots=True)
class _Device:
    """A GPU's NVML handles. A slice has its own memory and processes; clocks and heat are those of the card."""

    number: int
    handle: Any
    card: Any
    is_slice: bool = False


class Gpus:
    """The machine's GPUs through NVML, or the reason why there are none."""

    def __init__(
        self, nvml: ModuleType | None, handles: list[Any], reason: str, processes_on_gpu: GpuProcesses
    ) -> None:
        self._nvml = nvml
        self._processes_on_gpu = processes_on_gpu
        self._boot_id = tracing.read_boot_id()
        self.reason = reason
        """Why there are none; "" with a GPU."""
        pairs = [(slice_, card, slice_ is not card) for card in handles for slice_ in self._slices(card) or [card]]
        self._handles = [_Device(number, *device) for number, device in enumerate(pairs)]
        for device in self._handles:
            processes_on_gpu.note_earlier(self._pids(device))

    @classmethod
    def open(cls, nvml: ModuleType = pynvml, processes_on_gpu: GpuProcesses | None = None) -> Self:
        """Start NVML. Whoever is on a GPU now is foreign to the run, unless `residents` knows better."""
        processes_on_gpu = GpuProcesses.of_this_process() if processes_on_gpu is None else processes_on_gpu
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            return cls(None, [], f"no NVIDIA GPU: {error}", processes_on_gpu)
        return cls(nvml, handles, "" if handles else "no NVIDIA GPU: the driver counts none", processes_on_gpu)

    @property
    def driver(self) -> str | None:
        """The version of the driver."""
        return _text(self._query("nvmlSystemGetDriverVersion")) if self._nvml else None

    @property
    def processes(self) -> str:
        """Which processes NVML lists: `all`, those of the `container`, or `not available`."""
        if not self._handles or any(self._pids(device) is None for device in self._handles):
            return "not available"
        return "all" if self._processes_on_gpu.initial_namespace else "container"

    def devices(self) -> tuple[Gpu, ...]:
        """Return each GPU's name and memory now; a card with MIG slices is replaced by its slices."""
        return tuple(self._device(device) for device in self._handles)

    def sample_only(self, uuid: str) -> None:
        """From now on sample only that GPU, if there is one with that UUID."""
        selected = [device for device in self._handles if self._uuid(device) == uuid]
        self._handles = selected or self._handles

    def sample(self, at_s: float) -> tuple[GpuSample, ...]:
        """Return a row for each GPU; values that a GPU does not support are None."""
        return tuple(self._sample(at_s, device) for device in self._handles)

    def close(self) -> None:
        """Shut NVML down."""
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
        # A slice has no counter of its own, and the card's counts the other slices too.
        energy_mj = None if device.is_slice else self._query("nvmlDeviceGetTotalEnergyConsumption", device.card)
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
            energy_j=None if energy_mj is None else energy_mj / 1000,
        )

    def _slices(self, card: Any) -> list[Any]:
        """Return the MIG slices of a card; [] for a card without."""
        mode = self._query("nvmlDeviceGetMigMode", card)
        if not mode or mode[0] != 1:  # NVML_DEVICE_MIG_ENABLE
            return []
        places = range(self._query("nvmlDeviceGetMaxMigDeviceCount", card) or 0)
        handles = (self._query("nvmlDeviceGetMigDeviceHandleByIndex", card, place) for place in places)
        return [handle for handle in handles if handle is not None]

    def _pids(self, device: _Device) -> list[int] | None:
        """Return its compute processes, MPS clients included; None where they are not reported."""
        listed = self._query("nvmlDeviceGetComputeRunningProcesses", device.handle)
        if listed is None:
            return None
        clients = self._query("nvmlDeviceGetMPSComputeRunningProcesses", device.handle) or []
        return sorted({int(process.pid) for process in (*listed, *clients)})

    def _uuid(self, device: _Device) -> str:
        return _text(self._query("nvmlDeviceGetUUID", device.handle)) or ""

    def _query(self, function: str, *arguments: Any) -> Any:
        """Return NVML's answer; None where it has none: an old driver, a MIG slice, a GPU that fell off the bus."""
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        if call is None or self._nvml is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError:
            return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
