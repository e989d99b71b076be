"""The GPU of the engines that are measured: chosen and shared as the agent does, under MPS where asked; its memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.gpu import choice as choosing
from turngap_agent.gpu.choice import ChosenGpu
from turngap_agent.gpu.sharing import Sharing
from turngap_agent.gpu.usage import read_memory
from turngap_agent.stage.command import StageOptions

_MIB = 1 << 20
_NO_GPU = "the engine works on the processor"
_NO_PEAK = "only torch counts its peak, and the engine is not on torch"


@asynccontextmanager
async def share_gpu(
    options: StageOptions, choose: Callable[..., ChosenGpu] = choosing.choose
) -> AsyncIterator[Sharing | None]:
    """Show CUDA the profile's GPU alone inside the context, with the agent's own MPS daemon if engines work under it.

    None: no engine that is measured uses a GPU. Without `--in mps` there is no daemon, whatever the profile says: each
    place of the other engines is to be what the document calls it.

    Raises:
        EngineError: there is no GPU, or not the one that is named, or MPS does not start.
    """
    engines = options.profile.engines()
    if not any(engines[kind].placement() is Placement.GPU for kind in (options.stage, *options.beside)):
        yield None
        return
    settings = options.profile.gpu.model_copy(update={"mps": options.place == "mps"})
    sharing = await Sharing.open(options.profile.model_copy(update={"gpu": settings}), choose)
    try:
        yield sharing
    finally:
        if sharing is not None:
            await sharing.close()


class GpuMemory:
    """The device's memory since before the engine was loaded, as NVML counts it for the whole device or slice."""

    def __init__(self, settings: EngineSettings, sharing: Sharing | None) -> None:
        self._choice = sharing.choice if sharing is not None and settings.placement() is Placement.GPU else None
        self._on_torch = settings.on_torch
        self._used_mib: dict[str, float | None] = {}
        self.read("before")

    def read(self, moment: str) -> None:
        """Read it now; `moment` is before, load or steady."""
        if self._choice is not None:
            memory = read_memory(self._choice)
            self._used_mib[moment] = None if memory is None else memory.used_mib

    def describe(self) -> tuple[dict[str, float | None] | None, dict[str, str]]:
        """Return `load`, `steady` and `peak`, MiB more than before; and why one of them, or all, are null."""
        if self._choice is None:
            return None, {"gpu_memory_mib": _NO_GPU}
        before = self._used_mib["before"]
        if before is None:
            return None, {"gpu_memory_mib": f"NVML does not show the memory of {self._choice.label}"}
        grown = {
            moment: None if (used := self._used_mib.get(moment)) is None else used - before
            for moment in ("load", "steady")
        }
        peak_mib = _torch_peak_mib(sys.modules.get("torch")) if self._on_torch else None
        reasons = {
            f"gpu_memory_mib.{name}": "NVML no longer showed it" for name, value in grown.items() if value is None
        }
        return {**grown, "peak": peak_mib}, reasons | (
            {} if peak_mib is not None else {"gpu_memory_mib.peak": _NO_PEAK}
        )


def _torch_peak_mib(torch: Any) -> float | None:
    """Return the most that torch's allocator has held, MiB; other libraries and the context come on top."""
    return torch.cuda.max_memory_reserved() / _MIB if torch is not None and torch.cuda.is_initialized() else None
