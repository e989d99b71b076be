"""Counts, for engines on torch: the work of each part, what a step launches, and how often the host waits in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from turngap_agent.device import operation_counts
from turngap_agent.device.torch_work import TorchWork
from turngap_agent.device.work import PartWork
from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.parts import Recorder
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.measurement import Unit
from turngap_agent.stage.units import make_work


async def count_on_torch(options: StageOptions, units: Sequence[Unit]) -> list[tuple[Unit, Mapping[str, PartWork]]]:
    """Return the work of the units, done again by an engine in the eager mode: captured units dispatch nothing."""
    settings = options.settings
    if "mode" in type(settings).model_fields:
        settings = settings.model_copy(update={"mode": "eager"})
    if getattr(settings, "decoder", None) == "static":
        settings = settings.model_copy(update={"decoder": "transformers"})
    engine = (await load_engine(settings)).engine
    counted: list[tuple[Unit, Mapping[str, PartWork]]] = []
    try:
        work = make_work(options.stage, engine)
        for unit in units:
            mode = TorchWork()
            await work(unit.given, Recorder(watch=lambda _, mode=mode: mode))  # type: ignore[misc]
            counted.append((unit, mode.by_part))
    finally:
        await engine.close()
    return counted


async def count_launches(
    options: StageOptions, engine: Any, unit: Unit, steps: int
) -> tuple[float | None, float | None, str]:
    """Return launches and host waits a step, or why they are not known.

    On a GPU kernels and CUDA's waits, as torch's profiler sees them; on a processor operations and values read back.
    """
    work = make_work(options.stage, engine)
    if options.settings.placement() is not Placement.GPU:
        mode = TorchWork()
        await work(unit.given, Recorder(watch=lambda _: mode))
        return mode.operations / steps, mode.host_reads / steps, ""
    from torch.profiler import ProfilerActivity, profile, record_function

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        with record_function(operation_counts.MARK):
            await work(unit.given, Recorder())
        torch.cuda.synchronize()
    events = list(profiler.events())
    kernels = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)
    try:
        waits = operation_counts.count_waits(
            operation_counts.HostEvent(event.name, event.time_range.start, event.time_range.end)
            for event in events
            if event.device_type == torch.autograd.DeviceType.CPU
        )
    except RuntimeError as error:
        return None, None, str(error)
    return kernels / steps, waits / steps, ""


def find_device_wait(settings: EngineSettings) -> Any:
    """Return what waits for the engine's device, for borders of parts; None on a processor, which has no queue."""
    return torch.cuda.synchronize if settings.placement() is Placement.GPU else None
