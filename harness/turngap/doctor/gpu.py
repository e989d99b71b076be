"""Checks of the GPUs: driver, memory, clocks, others on them, and how they are shared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pynvml

from turngap.clock import Clock
from turngap.doctor.checks import Check, Group, State
from turngap.processes.gpu import THROTTLING, Gpu, Gpus, GpuSample

_EXCLUSIVE, _PROHIBITED = 3, 2
"""nvmlComputeMode_t: one process at a time, none at all."""
_MPS_PROGRAM, _MPS_PIPES = "nvidia-cuda-mps-control", "CUDA_MPS_PIPE_DIRECTORY"


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU, or one slice of one."""

    gpu: Gpu
    sample: GpuSample
    persistent: bool | None
    """Whether the driver stays loaded between programs; None where it does not say."""
    compute_mode: int | None


@dataclass(frozen=True, slots=True)
class GpusFacts:
    """All GPUs, or why there are none."""

    reason: str
    """Why there are none; "" with a GPU."""
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver runs."""
    gpus: tuple[GpuFacts, ...] = ()
    mps: str = ""
    """How several processes share a GPU: what is there of NVIDIA's Multi-Process Service."""


def read_gpus(clock: Clock, nvml: ModuleType = pynvml, environment: Mapping[str, str] = os.environ) -> GpusFacts:
    """Read the GPUs through NVML; without one the reason."""
    gpus = Gpus.open(nvml)
    if gpus.reason:
        return GpusFacts(gpus.reason)
    try:
        cards = []
        for device, sample in zip(gpus.devices(), gpus.sample(clock.now_ns() / 1e9), strict=True):
            handle = _query(nvml, "nvmlDeviceGetHandleByUUID", device.uuid)
            mode = None if handle is None else _query(nvml, "nvmlDeviceGetPersistenceMode", handle)
            compute = None if handle is None else _query(nvml, "nvmlDeviceGetComputeMode", handle)
            cards.append(GpuFacts(device, sample, None if mode is None else bool(mode), compute))
        number = _query(nvml, "nvmlSystemGetCudaDriverVersion")
        cuda = None if number is None else f"{number // 1000}.{number % 1000 // 10}"
        return GpusFacts("", gpus.driver, cuda, tuple(cards), _describe_mps(environment))
    finally:
        gpus.close()


def judge_gpus(facts: GpusFacts, *, needed: bool) -> Group:
    """Return the checks of the GPUs; without one that is a problem only if the profile needs it."""
    if facts.reason:
        if not needed:
            return Group("GPU", (Check("GPU", State.OK, f"{facts.reason}; the profile needs none"),))
        remedy = (
            "install the driver (`nvidia-smi` must list the GPU; a container needs --gpus), or take the profile cpu"
        )
        return Group("GPU", (Check("GPU", State.PROBLEM, facts.reason, remedy),))
    checks = [Check("driver", State.OK, f"{facts.driver or 'unknown'}, CUDA up to {facts.cuda or 'unknown'}")]
    for card in facts.gpus:
        checks += _judge_card(card)
    checks.append(Check("sharing", State.OK, facts.mps))
    return Group("GPU", tuple(checks))


def _judge_card(card: GpuFacts) -> list[Check]:
    gpu, sample = card.gpu, card.sample
    name = f"GPU {gpu.gpu}"
    free_mib = gpu.total_mib - gpu.used_mib
    checks = [Check(name, State.OK, f"{gpu.name}, {free_mib:,.0f} of {gpu.total_mib:,.0f} MiB free")]
    if sample.foreign_processes is None:
        checks.append(Check(f"{name}, others", State.OK, "the driver does not list processes here (a container)"))
    elif sample.foreign_processes:
        checks.append(
            Check(
                f"{name}, others",
                State.WARNING,
                f"in use by {sample.foreign.replace('+', ', ')}",
                "end them before a run: a gate on a shared GPU is INVALID",
            )
        )
    hot = sorted(THROTTLING.intersection(sample.throttle.split("+")))
    clock = "unknown clock" if sample.sm_clock_mhz is None else f"{sample.sm_clock_mhz:.0f} MHz"
    if hot:
        remedy = "let it cool, or mend cooling and power: it is slower than in production"
        checks.append(Check(f"{name}, clocks", State.WARNING, f"{clock}, throttled by {', '.join(hot)}", remedy))
    else:
        checks.append(Check(f"{name}, clocks", State.OK, f"{clock}, not throttled"))
    if card.persistent is False:
        remedy = f"the first call waits for the driver: sudo nvidia-smi -i {gpu.gpu} -pm 1"
        checks.append(Check(f"{name}, persistence", State.WARNING, "off", remedy))
    if card.compute_mode == _PROHIBITED:
        remedy = f"sudo nvidia-smi -i {gpu.gpu} -c DEFAULT"
        checks.append(Check(f"{name}, mode", State.PROBLEM, "PROHIBITED: no process may use it", remedy))
    elif card.compute_mode == _EXCLUSIVE:
        remedy = f"set gpu.mps: true in the profile, or sudo nvidia-smi -i {gpu.gpu} -c DEFAULT"
        checks.append(Check(f"{name}, mode", State.WARNING, "EXCLUSIVE_PROCESS: one process at a time", remedy))
    return checks


def _describe_mps(environment: Mapping[str, str]) -> str:
    if environment.get(_MPS_PIPES):
        return f"an MPS server is named in {_MPS_PIPES}"
    if shutil.which(_MPS_PROGRAM):
        return f"{_MPS_PROGRAM} is installed; a profile starts it with gpu.mps: true"
    return f"no {_MPS_PROGRAM} here: engines in several processes take turns on the GPU"


def _query(nvml: ModuleType, function: str, *arguments: Any) -> Any:
    """Return NVML's answer; None where it has none."""
    call = getattr(nvml, function, None)
    if call is None:
        return None
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None
