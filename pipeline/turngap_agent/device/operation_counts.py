"""Counts what a unit of work launches, and how often the host waits for the device or reads a value from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "equal", "item")
"""Operations whose result the host must have before it goes on."""
LAUNCHING = ("cudaGraphLaunch", "cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
"""CUDA's calls of which a profile must show some: without one, the profiler has seen nothing."""
WAITING = ("cudaMemcpy", "cudaMemcpy2D")
"""CUDA's calls that make the host wait, beside those called `...Synchronize`."""
MARK = "turngap: counted"


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch is not seen by the type check
    """Counts the operations that are dispatched, and those that read a tensor back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.host_reads = 0

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), more: Any = None) -> Any:
        self.count += 1
        self.host_reads += function.__name__.split(".")[0] in READING
        return function(*args, **(more or {}))


@dataclass(frozen=True, slots=True)
class HostEvent:
    """A call on the host as the profiler recorded it."""

    name: str
    start_us: float
    end_us: float


def kernels(unit: Callable[[], None]) -> int:
    """Return the number of kernels and copies on the GPU in one run, as the profiler counts them.

    Raises:
        RuntimeError: the profiler saw none, so it does not work here.
    """
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        unit()
        torch.cuda.synchronize()
    count: int = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events())
    if not count:
        raise RuntimeError("the profiler saw no kernel: CUPTI does not work on this machine")
    return count


def operations(unit: Callable[[], None]) -> int:
    """Return the number of operations dispatched in one run."""
    with Operations() as counted:
        unit()
    count: int = counted.count
    return count


def host_waits(work: Callable[[], None]) -> int:
    """Return how often CUDA made the host wait in one run: replays of graphs and waits for events included.

    Raises:
        RuntimeError: the profiler saw no launch, so it does not work here.
    """
    from torch.profiler import ProfilerActivity, profile, record_function

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        with record_function(MARK):
            work()
        torch.cuda.synchronize()
    return count_waits(
        HostEvent(event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CPU
    )


def count_waits(events: Iterable[HostEvent]) -> int:
    """Return how many of CUDA's waiting calls lie inside the mark that `host_waits` sets.

    Raises:
        RuntimeError: there is no mark, or no launch inside it.
    """
    events = list(events)
    marks = [event for event in events if event.name == MARK]
    if not marks:
        raise RuntimeError("the profiler recorded no mark")
    inside = [event.name for event in events if marks[0].start_us <= event.start_us and event.end_us <= marks[0].end_us]
    if not any(name in LAUNCHING for name in inside):
        raise RuntimeError("the profiler saw no launch: CUPTI does not work on this machine")
    return sum(name in WAITING or (name[:2] == "cu" and name.endswith("Synchronize")) for name in inside)
