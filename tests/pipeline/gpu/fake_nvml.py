"""NVML by its documented functions: two whole cards, unless a test says otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

GIB = 1 << 30


class FakeError(Exception):
    """Stands for NVMLError."""


def refuse(*_: object) -> Any:
    """A function that this GPU does not support."""
    raise FakeError("Not Supported")


def nvml(**changes: Any) -> Any:
    """A module; a change of None refuses."""

    def memory(handle: str, version: int | None = None) -> SimpleNamespace:
        return SimpleNamespace(total=80 * GIB, used=GIB // 2, **({"reserved": GIB // 2} if version else {}))

    functions: dict[str, Any] = {
        "NVMLError": FakeError,
        "nvmlMemory_v2": 2,
        "nvmlInit": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "550.54",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 12040,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: f"{index}",
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}a" if len(handle) == 1 else f"MIG-{handle}",
        "nvmlDeviceGetName": lambda handle: b"NVIDIA A100",  # older bindings give bytes
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetComputeMode": lambda handle: 0,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [],
        "nvmlDeviceGetMigMode": lambda handle: [0, 0],
        "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": refuse,
    }
    functions |= {name: refuse if value is None else value for name, value in changes.items()}
    return SimpleNamespace(**functions)


def cut(*slices: str) -> Any:
    """The first card is in MIG mode, and has these slices; the second is whole."""

    def place(handle: str, number: int) -> str:
        return slices[number] if number < len(slices) else refuse()

    return nvml(nvmlDeviceGetMigMode=lambda handle: [int(handle == "0")] * 2, nvmlDeviceGetMigDeviceHandleByIndex=place)
