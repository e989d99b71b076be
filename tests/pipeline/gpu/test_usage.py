"""What NVML reports of the chosen device, faked by its documented functions; "not available" is a value."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from turngap_agent.gpu.choice import choose
from turngap_agent.gpu.usage import Memory, describe_other_use, read_memory, release_cached_memory

from tests.pipeline.gpu.fake_nvml import GIB, cut, nvml


def test_the_memory_of_the_whole_device() -> None:
    """Total, used and free in MiB, and the card's name."""
    memory = read_memory(choose(environment={}, nvml=nvml()))
    assert memory == Memory("NVIDIA A100", 80 * 1024, 512)
    assert memory is not None
    assert memory.free_mib == 80 * 1024 - 512


@pytest.mark.parametrize(("device", "total"), [(1, 1), ("MIG-0s1", 3)])
def test_the_device_is_the_chosen_one(device: int | str, total: int) -> None:
    """Another card, or a slice of one, which has memory of its own."""
    module = cut("0s1", "0s2")
    module.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(total=len(handle) * GIB, used=0)
    memory = read_memory(choose(device, environment={}, nvml=module))
    assert memory is not None
    assert memory.total_mib == total * 1024


def test_a_device_that_hides_its_memory_is_unknown() -> None:
    """Some slices and old drivers do not tell: nothing is planned against a guess."""
    assert read_memory(choose(environment={}, nvml=nvml(nvmlDeviceGetMemoryInfo=None))) is None


@pytest.mark.parametrize(("started", "read"), [(True, ["emptied", "read"]), (False, ["read"])])
def test_what_torch_keeps_for_nobody_is_given_back_before_each_reading(
    monkeypatch: pytest.MonkeyPatch, started: bool, read: list[str]
) -> None:
    """It is no engine's; without CUDA there is nothing to give back, and torch must not start it."""
    done: list[str] = []
    cuda = SimpleNamespace(is_initialized=lambda: started, empty_cache=lambda: done.append("emptied"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]  # a fake
    module = nvml()
    answer = module.nvmlDeviceGetMemoryInfo

    def memory(handle: str, version: int | None = None) -> Any:
        done.append("read")
        return answer(handle, version)

    choice = choose(environment={}, nvml=module)
    module.nvmlDeviceGetMemoryInfo = memory
    read_memory(choice)
    assert done == read


def test_without_torch_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile whose engines run elsewhere does not import it: a process without torch has none afterwards either."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    release_cached_memory(None)
    assert "torch" not in sys.modules


def describe_use(**changes: Any) -> str | None:
    return describe_other_use(choose(environment={}, nvml=nvml(**changes)))


def memory_in_use(used: int) -> Any:
    return lambda handle, version=None: SimpleNamespace(total=80 * GIB, used=used, reserved=GIB // 2)


def test_an_idle_gpu_is_not_remarked_on() -> None:
    """What the driver keeps for itself belongs to no process."""
    assert describe_use() is None


def test_processes_are_named_with_what_they_hold() -> None:
    """And the remedy."""
    line = describe_use(
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=None)],
        nvmlDeviceGetMemoryInfo=memory_in_use(3 * GIB + GIB // 2),
    )
    assert line is not None
    assert line.startswith("GPU 0 (NVIDIA A100) is in use by others (process 7, 3,072 MiB): ")
    assert "gpu.device" in line


def test_where_processes_are_not_available_the_memory_tells() -> None:
    """As in many containers; an old driver, which counts its own part in, tells nothing."""
    hidden: dict[str, Any] = {"nvmlDeviceGetComputeRunningProcesses": None}
    assert "(2,048 MiB)" in (describe_use(**hidden, nvmlDeviceGetMemoryInfo=memory_in_use(2 * GIB + GIB // 2)) or "")
    assert describe_use(**hidden) is None
    assert describe_use(**hidden, nvmlDeviceGetMemoryInfo=None) is None
