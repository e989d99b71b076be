"""What NVML says of the device, faked by its documented functions; "not available" is a value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.memory.device import Device, Memory


class _Error(Exception):
    pass


def nvml(**changes: Any) -> Any:
    """NVML with one card of 80 GiB, 3 GiB in use."""

    def refuse(*_: object) -> None:
        raise _Error("Driver Not Loaded")

    functions: dict[str, Any] = {
        "NVMLError": _Error,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: ("index", index),
        "nvmlDeviceGetHandleByUUID": lambda uuid: ("uuid", uuid),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80 << 30, used=3 << 30),
        "nvmlDeviceGetName": lambda handle: b"NVIDIA A100-SXM4-80GB",
    }
    functions |= {name: refuse if value is None else value for name, value in changes.items()}
    return SimpleNamespace(**functions)


def test_the_memory_of_the_whole_device() -> None:
    """Total, used and free in MiB, and the card's name."""
    memory = Device.open(nvml(), visible="0").memory()
    assert memory == Memory("NVIDIA A100-SXM4-80GB", 80 * 1024, 3 * 1024)
    assert memory is not None
    assert memory.free_mib == 77 * 1024


@pytest.mark.parametrize(
    ("visible", "handle"), [("1,0", ("index", 1)), ("GPU-8f", ("uuid", "GPU-8f")), ("MIG-3a", ("uuid", "MIG-3a"))]
)
def test_the_device_is_the_one_that_cuda_shows(visible: str, handle: object) -> None:
    """An index, a GPU or a slice of one."""
    asked: list[object] = []
    device = Device.open(
        nvml(nvmlDeviceGetMemoryInfo=lambda one: asked.append(one) or SimpleNamespace(total=1, used=0)), visible=visible
    )
    device.memory()
    assert asked == [handle]


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_no_gpu_is_a_reason(call: str) -> None:
    """No driver, or no such card."""
    device = Device.open(nvml(**{call: None}), visible="0")
    assert (device.memory(), device.reason) == (None, "no NVIDIA GPU: Driver Not Loaded")


def test_a_device_that_hides_its_memory_is_unknown() -> None:
    """Some slices and old drivers do not tell: nothing is planned against a guess."""
    assert Device.open(nvml(nvmlDeviceGetMemoryInfo=None), visible="0").memory() is None


def test_all_devices_hidden_from_cuda() -> None:
    """CUDA_VISIBLE_DEVICES is empty."""
    device = Device.open(nvml(), visible="")
    assert device.memory() is None
    assert "shows no GPU" in device.reason
