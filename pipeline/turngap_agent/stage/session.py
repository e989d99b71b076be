"""Measures one stage from its cold start to its floor, and returns the document that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from turngap_agent.engines import Placement
from turngap_agent.gpu.sharing import Sharing
from turngap_agent.parts import Recorder
from turngap_agent.stage import document
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.counting import measure_floor
from turngap_agent.stage.gpu import GpuMemory, share_gpu
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.load import keep_busy_here, keep_busy_in_process
from turngap_agent.stage.measurement import Unit, measure_units
from turngap_agent.stage.process import Usage
from turngap_agent.stage.replies import add_replies
from turngap_agent.stage.trace import record_torch, start_trace, write_units
from turngap_agent.stage.units import STEPS, Work, make_work, split_units

PARTS_REPEATS = 5


async def measure_stage(options: StageOptions, inputs: Sequence[StageInput], inputs_text: str) -> dict[str, Any]:
    """Return what was measured of the stage on `inputs`, which `inputs_text` is the document of.

    Raises:
        EngineError: an engine does not load, or failed.
        WeightsError: a model is missing and cannot be fetched.
    """
    inputs, reply_note = await add_replies(options, inputs, inputs_text)
    async with share_gpu(options) as sharing:
        result = await _measure(options, inputs, inputs_text, sharing)
    if reply_note:
        result["reasons"]["inputs"] = reply_note
    return result


async def _measure(
    options: StageOptions, inputs: Sequence[StageInput], inputs_text: str, sharing: Sharing | None
) -> dict[str, Any]:
    units = split_units(options.stage, inputs)
    gpu_memory = GpuMemory(options.settings, sharing)
    before = Usage.read()
    cold = await load_engine(options.settings)
    loaded = Usage.read()
    gpu_memory.read("load")
    try:
        work = make_work(options.stage, cold.engine, paced=options.cadence_s is not None)
        watch = start_trace()
        alone = await measure_units(work, units, options.repeats, options.cadence_s)
        if watch is not None:
            await watch.stop()
        gpu_memory.read("steady")
        split_of = await _measure_parts(options, work, units) or alone.units
        result = document.describe(options, cold, before, loaded, alone, split_of)
        document.add_gpu(result, None if sharing is None else sharing.facts(), *gpu_memory.describe())
        if options.beside:
            async with _load(options, inputs, inputs_text, sharing):
                if sharing is not None:
                    await sharing.check()
                beside = await measure_units(work, units, options.repeats, options.cadence_s)
            result["beside"] = document.describe_beside(options, cold.engine, alone, beside)
        # Torch's profiler comes last: it takes memory of its own, and may cost time for as long as the process lives.
        if options.settings.on_torch:
            await _add_launches(options, cold.engine, alone.units[0], result)
        write_units((*alone.units, *await record_torch(options.settings, work, units[0])))
    except BaseException:
        await cold.engine.close()
        raise
    if options.with_floor:
        document.add_floor(result, *await measure_floor(options, cold.engine, cold.engine.close, alone.units))
    else:
        await cold.engine.close()
        document.add_floor(result, None, "not measured: --no-floor")
    return result


async def _measure_parts(options: StageOptions, work: Work, units: Sequence[StageInput]) -> tuple[Unit, ...]:
    """Return units whose parts wait for the device at their borders; none on a processor, which has no queue.

    They are measured apart: waiting at borders costs what a device gains by working ahead.
    """
    if options.settings.placement() is not Placement.GPU or not options.settings.on_torch:
        return ()
    from turngap_agent.stage.torch_counting import find_device_wait

    wait = find_device_wait(options.settings)
    measured = await measure_units(work, units, min(options.repeats, PARTS_REPEATS), None, lambda: Recorder(wait))
    return measured.units


async def _add_launches(options: StageOptions, engine: Any, unit: Unit, result: dict[str, Any]) -> None:
    from turngap_agent.stage.torch_counting import count_launches

    step = STEPS.get(options.stage, "unit")
    steps = len(unit.times.steps_ms) + (options.stage != "vad")
    launches, waits, why = await count_launches(options, engine, unit, steps if options.stage in STEPS else 1)
    for name, value in ((f"launches_per_{step}", launches), (f"host_syncs_per_{step}", waits)):
        result[name] = value
        result["reasons"].pop(name, None)
        if value is None:
            result["reasons"][name] = why


def _load(
    options: StageOptions, inputs: Sequence[StageInput], inputs_text: str, sharing: Sharing | None
) -> AbstractAsyncContextManager[None]:
    if options.place == "thread":
        return keep_busy_here(options.profile, options.beside, inputs)
    # This process's own variables name the MPS daemon, and its child has them; a language model has its own share.
    daemon = sharing.mps if sharing is not None and "llm" in options.beside else None
    environment = daemon.llm_environment if daemon is not None else {}
    return keep_busy_in_process(options.profile_file, options.beside, inputs_text, environment)
