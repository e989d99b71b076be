"""A GPU in use by others is said before anything loads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from turngap_agent.gpu.choice import choose
from turngap_agent.gpu.others import remark

from tests.pipeline.gpu.fake_nvml import GIB, nvml


def said(**changes: Any) -> str | None:
    return remark(choose(environment={}, nvml=nvml(**changes)))


def memory(used: int) -> Any:
    return lambda handle, version=None: SimpleNamespace(total=80 * GIB, used=used, reserved=GIB // 2)


def test_an_idle_gpu_is_not_remarked_on() -> None:
    """What the driver keeps for itself is nobody's."""
    assert said() is None


def test_processes_are_named_with_what_they_hold() -> None:
    """And the remedy."""
    found = said(
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=None)],
        nvmlDeviceGetMemoryInfo=memory(3 * GIB + GIB // 2),
    )
    assert found is not None
    assert found.startswith("GPU 0 (NVIDIA A100) is in use by others (process 7, 3,072 MiB): ")
    assert "gpu.device" in found


def test_where_processes_are_not_available_the_memory_tells() -> None:
    """As in many containers; an old driver, which counts its own part in, tells nothing."""
    hidden: dict[str, Any] = {"nvmlDeviceGetComputeRunningProcesses": None}
    assert "(2,048 MiB)" in (said(**hidden, nvmlDeviceGetMemoryInfo=memory(2 * GIB + GIB // 2)) or "")
    assert said(**hidden) is None
    assert said(**hidden, nvmlDeviceGetMemoryInfo=None) is None
