"""What NVML says of the chosen device, faked by its documented functions; "not available" is a value."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from turngap_agent.gpu.choice import choose
from turngap_agent.memory.device import Device, Memory

from tests.pipeline.gpu.fake_nvml import GIB, cut, nvml


def test_the_memory_of_the_whole_device() -> None:
    """Total, used and free in MiB, and the card's name."""
    memory = Device(choose(environment={}, nvml=nvml())).memory()
    assert memory == Memory("NVIDIA A100", 80 * 1024, 512)
    assert memory is not None
    assert memory.free_mib == 80 * 1024 - 512


@pytest.mark.parametrize(("device", "total"), [(1, 1), ("MIG-0s1", 3)])
def test_the_device_is_the_chosen_one(device: int | str, total: int) -> None:
    """Another card, or a slice of one, which has memory of its own."""
    module = cut("0s1", "0s2")
    module.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(total=len(handle) * GIB, used=0)
    memory = Device(choose(device, environment={}, nvml=module)).memory()
    assert memory is not None
    assert memory.total_mib == total * 1024


def test_a_device_that_hides_its_memory_is_unknown() -> None:
    """Some slices and old drivers do not tell: nothing is planned against a guess."""
    assert Device(choose(environment={}, nvml=nvml(nvmlDeviceGetMemoryInfo=None))).memory() is None
