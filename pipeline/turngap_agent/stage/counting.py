"""Counts what an engine must read and compute for some of the units that were measured, and measures the machine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from turngap_agent.device.work import CountsWork, PartWork
from turngap_agent.engines import Placement
from turngap_agent.errors import EngineError
from turngap_agent.parts import Recorder
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.floor import describe_floor
from turngap_agent.stage.machine import measure_machine
from turngap_agent.stage.measurement import Unit
from turngap_agent.stage.units import make_work

COUNTED = 3
"""Units whose work is counted: different inputs, with different shapes."""
Counted = Sequence[tuple[Unit, Mapping[str, PartWork]]]


async def measure_floor(
    options: StageOptions, engine: Any, close: Callable[[], Awaitable[None]], units: Sequence[Unit]
) -> tuple[dict[str, Any] | None, str]:
    """Return the floor of the stage, or None and why there is none; `close` closes the engine before another is loaded.

    Raises:
        EngineError: the engine does not load a second time, or failed.
    """
    settings = options.settings
    if settings.placement() is Placement.OWN_PROCESS:
        await close()
        return None, f"{settings.engine} works in a process of its own, and what it computes is not seen from here"
    try:
        chosen = _choose(units)
        counted: Counted = []
        try:
            if isinstance(engine, CountsWork):
                counted = [(unit, engine.count_work(unit.recorder.shapes)) for unit in chosen]
        finally:
            await close()
        if not counted:
            if settings.on_torch:
                from turngap_agent.stage.torch_counting import count_on_torch

                counted = await count_on_torch(options, chosen)
            elif "onnxruntime" in sys.modules:
                counted = await _count_onnx(options, chosen)
    except KeyError as error:
        return None, f"its work has a type that was not measured: {error}"
    kinds = {kind for _, work in counted for part in work.values() for kind in part.operations}
    if not kinds:
        return None, f"{settings.engine} has no model whose work can be counted"
    try:
        rates, one_thread = measure_machine(settings, sorted(kinds))
    except EngineError as error:
        return None, str(error)
    return describe_floor(counted, rates, one_thread), ""


def _choose(units: Sequence[Unit]) -> list[Unit]:
    """Return the first units with different inputs."""
    by_key: dict[str, Unit] = {}
    for unit in units:
        by_key.setdefault(unit.given.key, unit)
    return list(by_key.values())[:COUNTED]


async def _count_onnx(options: StageOptions, units: Sequence[Unit]) -> Counted:
    from turngap_agent.device.onnx_work import count_sessions

    with count_sessions() as counting:
        engine = (await load_engine(options.settings)).engine
        try:
            work = make_work(options.stage, engine)
            for index, unit in enumerate(units):
                counting.unit = index
                await work(unit.given, Recorder())
            counted = counting.read(len(units))
        finally:
            await engine.close()
    return list(zip(units, counted, strict=True))
