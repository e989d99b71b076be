"""Whether a machine can run a profile at all: checked before gigabytes are fetched for it. Loads no engine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

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
    for problem in _find_problems(profile):
        raise EngineError(problem)


def list_problems(profile: Profile) -> list[str]:
    """Return everything that this machine lacks for `profile`, a line each with its remedy."""
    return list(_find_problems(profile))


def _find_problems(profile: Profile) -> Iterator[str]:
    if memory_plan.needs_gpu(profile) and not _has_driver():
        yield (
            f"profile {profile.name!r} works on an NVIDIA GPU, and this machine has none, or no driver for it: run it "
            "where `nvidia-smi` lists one (docs/gpu.md), or take the profile cpu"
        )
    engines = profile.engines().values()
    # A model on a server needs nothing of this machine's GPU: the other engines are then those of a CPU.
    needs_gpu_extra = memory_plan.needs_gpu(profile) and any(one.install == _GPU_EXTRA for one in engines)
    for settings in engines:
        try:
            settings.require_packages(_install(settings, needs_gpu_extra))
        except EngineError as error:
            yield str(error)
        problem = settings.machine_problem()
        if problem is not None:
            yield problem


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
