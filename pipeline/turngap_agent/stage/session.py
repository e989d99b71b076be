"""Measures one stage from its cold start to its floor, and returns the document that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from turngap_agent.stage import document
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.load import busy_here, busy_in_process
from turngap_agent.stage.measurement import measure_units
from turngap_agent.stage.process import Usage
from turngap_agent.stage.replies import add_replies
from turngap_agent.stage.units import make_work, split_units


async def measure_stage(options: StageOptions, inputs: Sequence[StageInput], inputs_text: str) -> dict[str, Any]:
    """Return what was measured of the stage on `inputs`, which `inputs_text` is the document of.

    Raises:
        EngineError: an engine does not load, or failed.
        WeightsError: a model is missing and cannot be fetched.
    """
    inputs, reply_note = await add_replies(options, inputs, inputs_text)
    units = split_units(options.stage, inputs)
    before = Usage.read()
    cold = await load_engine(options.settings)
    loaded = Usage.read()
    try:
        work = make_work(options.stage, cold.engine, paced=options.cadence_s is not None)
        alone = await measure_units(work, units, options.repeats, options.cadence_s)
        result = document.describe(options, cold, before, loaded, alone)
        if options.beside:
            async with _load(options, inputs, inputs_text):
                beside = await measure_units(work, units, options.repeats, options.cadence_s)
            result["beside"] = document.describe_beside(options, cold.engine, alone, beside)
    finally:
        await cold.engine.close()
    if reply_note:
        result["reasons"]["inputs"] = reply_note
    return result


def _load(options: StageOptions, inputs: Sequence[StageInput], inputs_text: str) -> AbstractAsyncContextManager[None]:
    if options.place == "thread":
        return busy_here(options.profile, options.beside, inputs)
    return busy_in_process(options.profile_file, options.beside, inputs_text, {})
