"""NVML through a stand-in with the documented functions: values, absent values, absent GPUs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest

from harness.rig import gpu
from harness.rig.gpu import Gpu, Gpus

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
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80 * GIB, used=10 * GIB, free=70 * GIB),
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=37, memory=12),
        "nvmlDeviceGetClockInfo": lambda handle, kind: {1: 1410, 2: 1593}[kind],
        "nvmlDeviceGetTemperature": lambda handle, sensor: 55,
        "nvmlDeviceGetPowerUsage": lambda handle: 250_500,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x1 | 0x4 | 0x40,
    }
    for name, value in (functions | changes).items():
        if value is not None:
            setattr(module, name, value)
    return module


def refuse(*_: object) -> Any:
    raise FakeError("Not Supported")


def test_every_function_asked_for_is_one_of_the_real_bindings() -> None:
    """The stand-in has no function that pynvml lacks."""
    names = [name for name in vars(nvml()) if name.startswith("nvml")]
    assert [name for name in names if not hasattr(pynvml, name)] == []


def test_a_sample_holds_what_nvml_says() -> None:
    """MiB, W and the reasons why clocks are held back; idling is none of them."""
    sample = Gpus.open(nvml()).sample(12.5)[1]
    assert (sample.at_s, sample.gpu, sample.used_mib, sample.utilisation_pct) == (12.5, 1, 10 * 1024, 37.0)
    assert (sample.sm_clock_mhz, sample.memory_clock_mhz, sample.power_w) == (1410, 1593, 250.5)
    assert sample.throttle == "sw_power_cap+hw_thermal"


def test_what_a_gpu_does_not_tell_is_none() -> None:
    """A MIG slice has no utilisation, an old driver no event reasons; the rest is still sampled."""
    changes = {
        "nvmlDeviceGetUtilizationRates": refuse,
        "nvmlDeviceGetCurrentClocksEventReasons": None,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x8,
        "nvmlDeviceGetPowerUsage": refuse,
    }
    sample = Gpus.open(nvml(**changes)).sample(0.0)[0]
    assert (sample.utilisation_pct, sample.power_w, sample.used_mib) == (None, None, 10 * 1024)
    assert sample.throttle == "hw_slowdown"
    assert gpu.row(sample).count("") == 3


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nvml(nvmlInit=refuse), "no NVIDIA GPU: Not Supported"),
        (nvml(nvmlDeviceGetCount=lambda: 0), "no NVIDIA GPU: the driver counts none"),
    ],
)
def test_no_gpu_is_a_value_with_its_reason(module: ModuleType, reason: str) -> None:
    """No driver, or none counted: no devices, no samples, and why."""
    gpus = Gpus.open(module)
    assert (gpus.reason, gpus.devices(), gpus.sample(0.0)) == (reason, (), ())
    gpus.close()


def test_names_and_driver_are_text() -> None:
    """Bytes and strings of either age of the bindings come out the same."""
    gpus = Gpus.open(nvml())
    assert [device.name for device in gpus.devices()] == ["NVIDIA A100", "NVIDIA A100"]
    assert gpus.driver == "550.54"


def test_peaks_come_from_the_file(tmp_path: Path) -> None:
    """The largest row counts for each GPU, a torn last row and a second heading do not."""
    file = tmp_path / "gpu.csv"
    heading = ",".join(gpu.COLUMNS)
    file.write_text(
        f"{heading}\n1.0,0,2000.000,,,,,,,\n2.0,0,5000.000,,,,,,,\n{heading}\n3.0,0,1000.000,,,,,,,\n4.0,0,9"
    )
    figures = gpu.figures([Gpu(0, "A100", 81920.0, 1500.0), Gpu(1, "A100", 81920.0, 20.0)], file)
    assert figures is not None
    assert [(each.used_before_mib, each.used_peak_mib) for each in figures] == [(1500.0, 5000.0), (20.0, 20.0)]
    assert gpu.figures([], tmp_path / "absent.csv") is None
