"""The memory plan of a profile: how much of a GPU each engine will hold, computed before anything loads. Pure.

Each engine declares its own part; each process adds a CUDA context. A plan that cannot fit is refused with its
arithmetic. What the engines hold once they are loaded is measured, and shown in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turngap_agent.engines import GpuMemory, Placement, gigabytes
from turngap_agent.errors import ProfileError
from turngap_agent.profile import Profile

CONTEXT_MIB = 500.0
"""A CUDA context with its libraries' workspaces, for each process: an estimate, measured on the card when it runs."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one engine, or CUDA, will hold."""

    section: str
    """The engine's stage, or `cuda`."""
    mib: float
    arithmetic: str
    """How it was computed, for people."""


def parts(profile: Profile, total_mib: float) -> tuple[Part, ...]:
    """What `profile` needs of a GPU of `total_mib`; empty if no engine uses one."""
    engines = profile.engines()
    memory: dict[str, GpuMemory] = {}
    for stage, settings in engines.items():
        needed = settings.gpu_memory(total_mib)
        if needed is not None:
            memory[stage] = needed
            if stage in profile.deadlines.spares:
                memory[f"{stage} spare"] = needed
    if not memory:
        return ()
    processes = 1 + sum(settings.placement() is Placement.OWN_PROCESS for settings in engines.values())
    memory["cuda"] = GpuMemory(processes * CONTEXT_MIB, f"{processes} x {CONTEXT_MIB:.0f} MiB of context")
    return tuple(Part(section, needed.mib, needed.arithmetic) for section, needed in memory.items())


def needs_gpu(profile: Profile) -> bool:
    """Whether an engine of `profile` cannot work without a GPU."""
    return any(settings.placement() is Placement.GPU for settings in profile.engines().values())


def check(profile: Profile, total_mib: float, free_mib: float, card: str) -> None:
    """Refuse a plan that cannot fit.

    Raises:
        ProfileError: it needs more than is free on the card, or an engine cannot work on a card of that size.
    """
    for settings in profile.engines().values():
        problem = settings.gpu_problem(total_mib, card)
        if problem is not None:
            raise ProfileError(f"profile {profile.name!r}: {problem}")
    needed = parts(profile, total_mib)
    sum_mib = sum(part.mib for part in needed)
    if sum_mib > free_mib:
        raise ProfileError(
            f"profile {profile.name!r} needs {gigabytes(sum_mib)} of GPU memory, {gigabytes(free_mib)} of "
            f"{gigabytes(total_mib)} are free on {card}: {describe(needed)}; "
            + ", or ".join(("stop what else uses it", *_remedies(profile, total_mib)))
        )


def _remedies(profile: Profile, total_mib: float) -> list[str]:
    engines = profile.engines().values()
    return [one.lower_gpu_memory for one in engines if one.lower_gpu_memory and one.gpu_memory(total_mib) is not None]


def describe(needed: Sequence[Part]) -> str:
    """The plan as a sum: "stt 1.7 GB (756 M x 2 bytes) + ..."."""
    return " + ".join(f"{part.section} {gigabytes(part.mib)} ({part.arithmetic})" for part in needed)
