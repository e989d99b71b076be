"""Counts what an engine must read and compute for some of the units that were measured, and measures the machine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turngap_agent.device.work import CountsWork, PartWork
from turngap_agent.engines import EngineSettings, Placement
from turngap_agent.parts import Recorder
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.floor import MachineRates, describe_floor
from turngap_agent.stage.measurement import Unit
from turngap_agent.stage.units import make_work

if TYPE_CHECKING:
    from turngap_agent.device.rates import Rates

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
    try:
        chosen = _choose(units)
        counted: Counted = []
        if isinstance(engine, CountsWork):
            counted = [(unit, engine.count_work(unit.recorder.shapes)) for unit in chosen]
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
    rates, one_thread = measure_machine(settings, sorted(kinds))
    missing = sorted(kinds - set(rates.operations_s))
    if missing:
        return None, f"this machine's rate of products in {', '.join(missing)} could not be measured"
    return describe_floor(counted, rates, one_thread), ""


def measure_machine(settings: EngineSettings, kinds: Sequence[str]) -> tuple[MachineRates, MachineRates | None]:
    """Return the rates of the engine's device with the engine's threads, and with one: None on a GPU."""
    if settings.on_torch:
        from turngap_agent.device.torch_rates import measure_torch_rates

        device = getattr(settings, "device", "cpu") if settings.placement() is Placement.GPU else "cpu"
        found = measure_torch_rates(device, kinds)
        one = measure_torch_rates(device, kinds, threads=1) if found.threads > 1 else found
    else:
        from turngap_agent.device.rates import measure_rates

        found = measure_rates(int(getattr(settings, "threads", 1)), kinds)
        one = measure_rates(1, kinds) if found.threads > 1 else found
    return _as_machine_rates(found), _as_machine_rates(one) if found.threads else None


def _as_machine_rates(found: Rates) -> MachineRates:
    return MachineRates(found.memory_bytes_s, found.cache_bytes_s, found.cache_bytes, found.operations_s, found.threads)


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
