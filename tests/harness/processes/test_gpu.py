"""NVML through a stand-in with the documented functions: values, absent values, absent GPUs."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest
from turngap.processes import gpu_log
from turngap.processes.gpu import Gpu, Gpus
from turngap.processes.gpu_processes import GpuProcesses

GIB = 1 << 30


class FakeError(Exception):
    """Stands for NVMLError."""


def nvml(**changes: Any) -> ModuleType:
    """A machine with two GPUs; `changes` replace functions, None removes one."""
    module = ModuleType("pynvml")
    functions: dict[str, Any] = {
        "NVMLError": FakeError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "550.54",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetName": lambda handle: b"NVIDIA A100",  # older bindings give bytes
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetMemoryInfo": memory_info,
        "nvmlMemory_v2": 2,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [],
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=37, memory=12),
        "nvmlDeviceGetClockInfo": lambda handle, kind: {1: 1410, 2: 1593}[kind],
        "nvmlDeviceGetTemperature": lambda handle, sensor: 55,
        "nvmlDeviceGetPowerUsage": lambda handle: 250_500,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 7_250,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x1 | 0x4 | 0x40,
    }
    for name, value in (functions | changes).items():
        if value is not None:
            setattr(module, name, value)
    return module


def memory_info(handle: str, version: int | None = None) -> SimpleNamespace:
    """As nvidia-ml-py: the second version of the structure has the driver's own part too."""
    parts = {"total": 80 * GIB, "used": 10 * GIB, "free": 70 * GIB}
    return SimpleNamespace(**parts, **({"reserved": GIB // 2} if version == 2 else {}))


def running(*pids: int) -> Any:
    """What nvmlDeviceGetComputeRunningProcesses returns; memory is not available, as in many containers."""
    return lambda handle: [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in pids]


def open_device(initial_namespace: bool = True, **changes: Any) -> Gpus:
    """The stand-in's GPUs, as seen by a run whose root is this process."""
    return Gpus.open(nvml(**changes), GpuProcesses(os.getpid(), initial_namespace=initial_namespace))


def raise_refusal(*_: object) -> Any:
    raise FakeError("Not Supported")


def test_energy_is_that_of_a_card_and_of_no_slice() -> None:
    """In J; a slice has no counter, and the card's counts its neighbours too."""
    assert [sample.energy_j for sample in Gpus.open(nvml()).sample(0.0)] == [7.25, 7.25]
    slices = {
        "nvmlDeviceGetMigMode": lambda handle: (1, 1),
        "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 1,
        "nvmlDeviceGetMigDeviceHandleByIndex": lambda handle, place: f"{handle} slice {place}",
    }
    assert [sample.energy_j for sample in Gpus.open(nvml(**slices)).sample(0.0)] == [None, None]


def test_every_faked_function_is_one_of_the_real_bindings() -> None:
    """The stand-in has no function that pynvml lacks."""
    names = [name for name in vars(nvml()) if name.startswith("nvml")]
    assert [name for name in names if not hasattr(pynvml, name)] == []


def test_a_sample_has_the_values_of_nvml() -> None:
    """MiB, W and the reasons why clocks are held back; idling is none of them."""
    sample = Gpus.open(nvml()).sample(12.5)[1]
    assert (sample.at_s, sample.gpu, sample.used_mib, sample.utilisation_pct) == (12.5, 1, 10 * 1024, 37.0)
    assert (sample.sm_clock_mhz, sample.memory_clock_mhz, sample.power_w) == (1410, 1593, 250.5)
    assert sample.throttle == "sw_power_cap+hw_thermal"


def test_an_unavailable_gpu_value_is_none() -> None:
    """A MIG slice has no utilisation, an old driver no event reasons; the rest is still sampled."""
    changes = {
        "nvmlDeviceGetUtilizationRates": raise_refusal,
        "nvmlDeviceGetCurrentClocksEventReasons": None,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x8,
        "nvmlDeviceGetPowerUsage": raise_refusal,
    }
    sample = Gpus.open(nvml(**changes)).sample(0.0)[0]
    assert (sample.utilisation_pct, sample.power_w, sample.used_mib) == (None, None, 10 * 1024)
    assert sample.throttle == "hw_slowdown"
    assert gpu_log.format_gpu_row(sample).count("") == 4  # nobody foreign is the fourth


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nvml(nvmlInit=raise_refusal), "no NVIDIA GPU: Not Supported"),
        (nvml(nvmlDeviceGetCount=lambda: 0), "no NVIDIA GPU: the driver counts none"),
    ],
)
def test_no_gpu_is_a_value_with_its_reason(module: ModuleType, reason: str) -> None:
    """No driver, or none counted: no devices, no samples, and why."""
    gpus = Gpus.open(module)
    assert (gpus.reason, gpus.devices(), gpus.sample(0.0)) == (reason, (), ())
    gpus.close()


def test_names_and_driver_are_text() -> None:
    """Bytes (old bindings) and strings (new ones) are read the same."""
    gpus = Gpus.open(nvml())
    assert [device.name for device in gpus.devices()] == ["NVIDIA A100", "NVIDIA A100"]
    assert gpus.driver == "550.54"


def test_peaks_are_read_from_the_file(tmp_path: Path) -> None:
    """The largest row counts for each GPU, a torn last row and a second heading do not."""
    file = tmp_path / "gpu.csv"
    heading = ",".join(gpu_log.COLUMNS)
    file.write_text(
        f"{heading}\n1.0,0,2000.000,,,,,,,\n2.0,0,5000.000,,,,,,,\n{heading}\n3.0,0,1000.000,,,,,,,\n4.0,0,9"
    )
    devices = [Gpu(0, "A100", 81920.0, 1500.0, "GPU-a"), Gpu(1, "A100", 81920.0, 20.0, "GPU-b")]
    figures = gpu_log.summarise_gpus(devices, file)
    assert figures is not None
    assert [(each.used_before_mib, each.used_peak_mib) for each in figures] == [(1500.0, 5000.0), (20.0, 20.0)]
    only = gpu_log.summarise_gpus(devices, file, "GPU-b")
    assert only is not None
    assert [(each.number, each.used_peak_mib) for each in only] == [(1, 20.0)]
    assert gpu_log.summarise_gpus([], tmp_path / "absent.csv") is None


def test_a_gpu_has_its_uuid_and_what_the_driver_keeps() -> None:
    """The UUID is what agent and instrument name a GPU by; an old driver does not tell its own part."""
    assert [(each.uuid, each.reserved_mib) for each in open_device().devices()] == [
        ("GPU-handle 0", 512.0),
        ("GPU-handle 1", 512.0),
    ]
    assert open_device(nvmlMemory_v2=None).devices()[0].reserved_mib is None


def test_the_agents_gpu_alone_is_sampled() -> None:
    """Of several GPUs the one that is named; a name that is none of them changes nothing."""
    gpus = open_device()
    gpus.sample_only("GPU-of another machine")
    assert len(gpus.sample(0.0)) == 2
    gpus.sample_only("GPU-handle 1")
    assert [sample.gpu for sample in gpus.sample(0.0)] == [1]


def test_a_card_in_slices_is_its_slices() -> None:
    """Memory and processes are each slice's, heat and clocks the card's; places without a slice are left out."""
    slices = {0: "slice 0", 2: "slice 2"}

    def by_index(handle: str, place: int) -> str:
        return slices[place] if place in slices else raise_refusal()

    def temperature(handle: str, sensor: int) -> int:
        return 55 if handle == "handle 0" else raise_refusal()

    gpus = open_device(
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetMigMode=lambda handle: [1, 1],
        nvmlDeviceGetMaxMigDeviceCount=lambda handle: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=by_index,
        nvmlDeviceGetUUID=lambda handle: f"MIG-{handle}",
        nvmlDeviceGetTemperature=temperature,
    )
    assert [each.uuid for each in gpus.devices()] == ["MIG-slice 0", "MIG-slice 2"]
    assert [sample.temperature_c for sample in gpus.sample(0.0)] == [55, 55]


def test_processes_that_the_run_did_not_start_are_foreign() -> None:
    """Named with their numbers; ours are not among them, nor those that have ended since they were listed."""
    gpus = open_device(nvmlDeviceGetComputeRunningProcesses=running(os.getpid(), os.getppid(), 2**22 + 1))
    sample = gpus.sample(0.0)[0]
    assert sample.foreign_processes == 1
    assert sample.foreign.startswith(f"{os.getppid()} ")
    assert gpus.processes == "all"


def test_processes_that_are_not_reported_are_unknown() -> None:
    """Not "nobody": the cell is empty."""
    gpus = open_device(nvmlDeviceGetComputeRunningProcesses=raise_refusal)
    sample = gpus.sample(0.0)[0]
    assert (sample.foreign_processes, sample.foreign, gpus.processes) == (None, "", "not available")
    cells = dict(zip(gpu_log.COLUMNS, gpu_log.format_gpu_row(sample), strict=True))
    assert (cells["foreign_processes"], cells["foreign"]) == ("", "")
