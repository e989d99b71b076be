"""Why torch does not reach a GPU that is there: a CPU build, a driver that is too old, or a device that is hidden."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Self


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver, as NVML reports it."""

    gpus: int
    version: str
    cuda: tuple[int, int] | None
    """The newest CUDA that it runs, major and minor."""

    @classmethod
    def read(cls, nvml: ModuleType | None = None) -> Self | None:
        """Read it from NVML; None if there is no driver, or no package to query it."""
        if nvml is None:
            try:
                nvml = importlib.import_module("pynvml")
            except ImportError:
                return None
        try:
            nvml.nvmlInit()
            version, gpus = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlDeviceGetCount()
        except nvml.NVMLError:
            return None
        try:
            number = nvml.nvmlSystemGetCudaDriverVersion_v2()
        except nvml.NVMLError:
            number = 0
        text = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
        return cls(int(gpus), text, (number // 1000, number % 1000 // 10) if number else None)


def why_unreachable(torch_cuda: str | None, driver: Driver | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return why `torch.cuda.is_available()` is false, and the remedy, as one line.

    `torch_cuda` is torch.version.cuda. A driver runs programs of its own CUDA major version and older ones.
    """
    if driver is None or not driver.gpus:
        return "there is no NVIDIA GPU or no driver for it (`nvidia-smi` must list it; a container needs --gpus)"
    if torch_cuda is None:
        return "a GPU is here, but torch is a CPU build; install one for CUDA (pytorch.org/get-started)"
    if driver.cuda is not None and int(torch_cuda.split(".")[0]) > driver.cuda[0]:
        return (
            f"driver {driver.version} runs CUDA up to {driver.cuda[0]}.{driver.cuda[1]}, and torch is built for "
            f"{torch_cuda}; update the driver, or install torch built for CUDA {driver.cuda[0]}"
        )
    if "CUDA_VISIBLE_DEVICES" in environment:
        return (
            f"a GPU is here, but CUDA_VISIBLE_DEVICES={environment['CUDA_VISIBLE_DEVICES']!r} hides it or names a "
            "slice that does not exist; correct or unset it"
        )
    return (
        "a GPU is here, but CUDA does not start on it; load its module (sudo nvidia-modprobe -u), and in a container "
        "check that /dev/nvidia-uvm is there"
    )
