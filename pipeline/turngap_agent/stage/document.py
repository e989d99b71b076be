"""The document of a measured stage: every field, or null with its reason; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from turngap_agent.engines import EngineKind, Placement
from turngap_agent.stage.cold_start import ColdStart
from turngap_agent.stage.command import StageOptions
from turngap_agent.stage.measurement import Measured, Unit
from turngap_agent.stage.process import Usage, describe_switches, read_peak_mib
from turngap_agent.stage.split import Split, split_times
from turngap_agent.stage.statistics import summarise
from turngap_agent.stage.units import STEPS, UNITS

SCHEMA = 1
_NO_GPU = "the engine works on the processor"
_NOT_TORCH = "only torch's profiler counts them, and the engine is not on torch"
_IN_THIS_PROCESS = (
    "the profile gives the engine a process of its own; it was measured in this one, without the door to it"
)
_OWN_PROCESS = "of this process alone: the engine works in a process of its own, which is not in it"


def describe(
    options: StageOptions,
    cold: ColdStart,
    before: Usage,
    loaded: Usage,
    measured: Measured,
    split_of: Sequence[Unit],
) -> dict[str, Any]:
    """Return what was measured of the engine alone; the floor and the load beside it are added later."""
    stage, reasons = options.stage, dict[str, str]()
    split = split_times(cold.engine, options.settings.engine, split_of)
    peak_mib, why = read_peak_mib()
    reasons |= {"memory_mib.peak": why} if why else {}
    switches, why = describe_switches(before, measured.after)
    if switches is not None:
        switches, _ = describe_switches(measured.before, measured.after)
    reasons |= {"context_switches": why} if why else {}
    if options.settings.placement() is Placement.OWN_PROCESS:
        reasons |= dict.fromkeys(("memory_mib", "threads", "cpu_ms"), _OWN_PROCESS)
    if options.profile.engines()[stage].own_process:
        reasons["own_process"] = _IN_THIS_PROCESS
    units = measured.units
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "stage": stage,
        "profile": options.profile.name,
        "engine": cold.engine.describe(),
        "unit": UNITS[stage],
        "units": len(units),
        "inputs": sorted({unit.given.key for unit in units}),
        "each_ms": {
            "first_output": [unit.times.first_ms for unit in units],
            UNITS[stage]: [unit.times.whole_ms for unit in units],
        },
        "cadence_s": list(options.cadence_s) if options.cadence_s is not None else None,
        "cold_start_ms": cold.total_ms,
        "cold_start_split_ms": {"import": cold.import_ms, "load": cold.load_ms, "first_use": cold.first_use_ms},
        **_times(stage, measured),
        **_describe_split(split, reasons),
        "floor_ms": None,
        "distance_to_floor": None,
        "memory_mib": {
            "before": before.memory_mib,
            "load": loaded.memory_mib,
            "steady": measured.after.memory_mib,
            "peak": peak_mib,
        },
        "threads": measured.most_threads,
        "context_switches": switches,
        "cpu_ms": 1e3 * (measured.after.cpu_s - measured.before.cpu_s) / len(units),
        "beside": None,
        "reasons": reasons,
    }
    step = STEPS.get(stage, "unit")
    for name in (f"launches_per_{step}", f"host_syncs_per_{step}"):
        document[name] = None
        if options.settings.placement() is not Placement.GPU:
            reasons[name] = _NO_GPU if options.settings.placement() is Placement.CPU else _OWN_PROCESS
        elif not options.settings.on_torch:
            reasons[name] = _NOT_TORCH
    return document


def add_gpu(
    document: dict[str, Any],
    facts: Mapping[str, Any] | None,
    memory_mib: Mapping[str, float | None] | None,
    reasons: Mapping[str, str],
) -> None:
    """Add the GPU to a stage's document, whether MPS was on, and what the engine holds of its memory; or why not."""
    document["gpu"] = None if facts is None else {name: facts[name] for name in ("uuid", "name", "mps")}
    document["gpu_memory_mib"] = None if memory_mib is None else dict(memory_mib)
    document["reasons"] |= {**reasons, **({"gpu": _NO_GPU} if facts is None else {})}


def add_floor(document: dict[str, Any], floor: Mapping[str, Any] | None, why: str) -> None:
    """Add the floor to a stage's document, or why there is none."""
    document["floor"] = floor
    if floor is None:
        document["reasons"]["floor_ms"] = document["reasons"]["distance_to_floor"] = why
        return
    document["floor_ms"], document["distance_to_floor"] = floor["ms"], floor["distance"]


def describe_beside(options: StageOptions, engine: Any, alone: Measured, beside: Measured) -> dict[str, Any]:
    """Return the same times with other engines at work, and how many times longer they are than alone."""
    reasons: dict[str, str] = {}
    split = split_times(engine, options.settings.engine, beside.units)
    times = _times(options.stage, beside)
    return {
        "engines": list(options.beside),
        "in": options.place,
        **times,
        **_describe_split(split, reasons),
        "times_alone": _ratios(times, _times(options.stage, alone)),
        "reasons": reasons,
    }


def _times(stage: EngineKind, measured: Measured) -> dict[str, Any]:
    units = [unit.times for unit in measured.units]
    heard = [unit.whole_ms / 1e3 / unit.audio_s for unit in units if unit.audio_s]
    times: dict[str, Any] = {
        "first_output_ms": summarise([unit.first_ms for unit in units]),
        f"{UNITS[stage]}_ms": summarise([unit.whole_ms for unit in units]),
    }
    if stage in STEPS:
        times[f"{STEPS[stage]}_ms"] = summarise([step for unit in units for step in unit.steps_ms])
    return {**times, "rtf": float(np.median(heard)) if heard else None}


def _describe_split(split: Split, reasons: dict[str, str]) -> dict[str, Any]:
    if split.note:
        reasons["split_ms"] = split.note
    return {"split_ms": split.parts_ms, "split_share": split.covered, "mean_ms": split.whole_ms}


def _ratios(beside: Mapping[str, Any], alone: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {share: beside[name][share] / figures[share] for share in ("p50", "p95") if figures[share]}
        for name, figures in alone.items()
        if isinstance(figures, Mapping) and beside.get(name) is not None
    }
