"""Counts the operations and kernels that a unit of work launches, and how often the host must wait for a value."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

SYNCHRONISING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "equal", "item")


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch is not seen by the type check
    """Counts the operations that are dispatched, and those that read a tensor back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.host_syncs = 0

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), more: Any = None) -> Any:
        self.count += 1
        self.host_syncs += function.__name__.split(".")[0] in SYNCHRONISING
        return function(*args, **(more or {}))


def kernels(unit: Callable[[], None]) -> int:
    """Return the number of kernels and copies on the GPU in one run, as the profiler counts them."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        unit()
        torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events())


def operations(unit: Callable[[], None]) -> int:
    """Return the number of operations dispatched in one run."""
    with Operations() as counted:
        unit()
    count: int = counted.count
    return count


def cuda_syncs(unit: Callable[[], None]) -> int:
    """Return how often CUDA made the host wait in one run, as torch reports it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            unit()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)
