"""Whether a machine can run a profile at all: checked before gigabytes are fetched for it. Loads no engine."""

from __future__ import annotations

import ctypes

from turngap_agent.engines import EngineSettings
from turngap_agent.errors import EngineError
from turngap_agent.gpu import memory_plan
from turngap_agent.profile import Profile

_GPU_EXTRA = "turngap[gpu]"
"""Includes what turngap's other extras install for an agent on a GPU."""


def check(profile: Profile) -> None:
    """Check that the machine has what the engines of `profile` need.

    Raises:
        EngineError: there is no GPU, or an engine is not installed.
    """
    if memory_plan.needs_gpu(profile) and not _has_driver():
        raise EngineError(
            f"profile {profile.name!r} works on an NVIDIA GPU, and this machine has none, or no driver for it: run it "
            "where `nvidia-smi` lists one (docs/gpu.md), or take the profile cpu"
        )
    engines = profile.engines().values()
    # A model on a server needs nothing of this machine's GPU: the other engines are then those of a CPU.
    needs_gpu_extra = memory_plan.needs_gpu(profile) and any(one.install == _GPU_EXTRA for one in engines)
    for settings in engines:
        settings.require_packages(_install(settings, needs_gpu_extra))
        problem = settings.machine_problem()
        if problem is not None:
            raise EngineError(problem)


def _install(settings: EngineSettings, needs_gpu_extra: bool) -> str:
    """What to install: one extra for all of turngap's engines, if the profile needs that one anyway."""
    return _GPU_EXTRA if needs_gpu_extra and settings.install.startswith("turngap[") else settings.install


def _has_driver() -> bool:
    """Whether CUDA's own library is there: the driver installs it, in containers too, where NVML may be missing."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
